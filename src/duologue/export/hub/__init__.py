"""An export to the Hugging Face Hub: what may leave, what is there already, and the push itself."""

from duologue.export.hub.parcel import Kind, Parcel, ParcelFile, front_matter, make_parcel
from duologue.export.hub.pushing import Pushed, Remote, look, places, push, saved_token, stale_files

__all__ = [
    "Kind",
    "Parcel",
    "ParcelFile",
    "Pushed",
    "Remote",
    "front_matter",
    "look",
    "make_parcel",
    "places",
    "push",
    "saved_token",
    "stale_files",
]
