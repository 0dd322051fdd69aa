"""Fitting an adapter to what people liked better: DPO on pairs, KTO on single replies, after plain training on edits.

TRL's trainers give the losses; the loop is that of `fit`, so a run on feedback is as exact, and as easily gone on with
after any interruption, as every other run.
"""

from duologue.engine.hf.preferences.fit import fit_preferences

__all__ = ["fit_preferences"]
