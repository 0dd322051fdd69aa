"""Conversations from files to tokenized examples, with an account of every row."""

from duologue.data.account import Account, DataStats, Fault, FileAccount, measure
from duologue.data.estimate import estimate_stats
from duologue.data.load import Splits, load_files, load_splits, resolve_files
from duologue.data.render import ExampleSets, make_examples, render
from duologue.data.rows import DATA_FORMATS, DataFormat

__all__ = [
    "DATA_FORMATS",
    "Account",
    "DataFormat",
    "DataStats",
    "ExampleSets",
    "Fault",
    "FileAccount",
    "Splits",
    "estimate_stats",
    "load_files",
    "load_splits",
    "make_examples",
    "measure",
    "render",
    "resolve_files",
]
