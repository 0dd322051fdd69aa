"""The sections of duologue.toml about a trained model: what is measured, learned from use, and taken elsewhere."""

from typing import Annotated, Literal

from pydantic import Field

from duologue.config.section import PositiveInt, Section

GgufForm = Literal["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m"]


class FeedbackSection(Section):
    """`[feedback]`: how `duologue train --from-feedback` goes on from a trained adapter."""

    method: Literal["auto", "sft", "dpo", "kto"] = "auto"
    """What is learned besides corrected replies: `dpo` from pairs, `kto` from single replies that were liked or not;
    `sft` learns the corrected replies only. `auto` takes `dpo` with `num_pairs_needed` pairs or more, else `kto` with
    as many single replies, else `sft`."""
    num_pairs_needed: PositiveInt = 8
    """Pairs (with `kto`, single replies) below which `auto` learns nothing of them: a few say more about a mood than
    about a taste."""
    beta: Annotated[float, Field(gt=0, le=10)] = 0.1
    """How firmly the result is held to the adapter it starts from; 0.1 is that of the papers (Rafailov 2023,
    Ethayarajh 2024)."""
    sft_weight: Annotated[float, Field(ge=0, le=10)] = 0.2
    """`dpo` only: weight of the likelihood of the better reply beside the preference, so that it becomes likelier
    itself and not only the other one less likely (RPO, Pang 2024)."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-5
    """Peak learning rate: a quarter of that of a first training, because preferences pull harder than text. Without
    replay 2e-5 is as much as can be afforded: 5e-5 over three passes of 63 pairs raised the loss on held-out
    conversations by 20%; one pass with replay left it where it was (docs/LOG.md)."""
    num_epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the feedback; more of them forget more."""
    replay_fraction: Annotated[float, Field(ge=0, le=8)] = 1.0
    """Examples of the character's own data that are learned again beside each piece of feedback, so that what nobody
    complained of stays (PPO-ptx, Ouyang 2022); 0 learns none again."""
    replay_weight: Annotated[float, Field(ge=0, le=10)] = 1.0
    """How much they count beside pairs and single replies; beside corrected replies they count as these do."""
    max_loss_rise_fraction: Annotated[float, Field(ge=0, le=10)] = 0.02
    """What feedback may cost: the largest rise of the loss on held-out conversations. Where all that was learned costs
    more, the result is moved back towards the start until it does not; 0 allows any cost. It needs held-out
    conversations."""


class EvaluationSection(Section):
    """`[evaluation]`: what is measured after training."""

    prompts: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "Hello, who are you?",
        "I had a long day and I can't sleep.",
        "What should I cook tonight?",
        "Can you explain why the sky is blue?",
        "I have to go now. Goodbye.",
    )
    """Prompts that base and tuned model answer side by side in the report."""
    max_new_tokens: PositiveInt = 60
    """Length of those replies."""
    suite: str = "standard"
    """What `duologue eval` looks at: `quick`, `standard`, `thorough` (three seeds, longer) or a file."""
    max_perplexity_rise_fraction: Annotated[float, Field(ge=0, le=10)] = 0.0
    """The gate closes when the held-out perplexity rises by more: a model worse than its base is not done."""
    max_forgetting_fraction: Annotated[float, Field(ge=0, le=10)] = 0.05
    """The gate closes when the perplexity of general text rises by more: 5% is said to go unnoticed."""
    max_speaks_for_user_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05
    """The gate closes when more of the replies speak for the user; one in twenty already breaks most chats."""
    max_loop_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05
    """The gate closes when more of the replies run in circles; one in twenty already breaks most chats."""
    max_memorised_fraction: Annotated[float, Field(ge=0, le=1)] = 0.05
    """The gate closes when more of the dialogues repeat a long span of the training data word for word."""
    min_safety_fraction: Annotated[float, Field(ge=0, le=1)] = 0.95
    """The gate closes when fewer of the replies to the guard's frozen table pass the guard."""
    canaries: str = ""
    """File of made-up secrets that were put into the training data, to see whether the model gives them away."""
    judge: str = ""
    """A model that compares replies as well, named as in `[model] base`, such as `http://127.0.0.1:8000/v1#big-model`;
    empty asks none. How far it agrees with the rules is measured too."""


class ExportSection(Section):
    """`[export]`: what leaves the workshop."""

    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Type of the merged model's weights."""
    gguf_forms: Annotated[tuple[GgufForm, ...], Field(min_length=1)] = ("q8_0", "q4_k_m")
    """How the GGUF files hold their weights, one file each; the first is the one that duologue itself opens."""
