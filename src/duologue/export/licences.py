"""What the licence of a base model asks of somebody who shares a model made of it, in plain words.

This is a help to remember duties, not advice: the licence itself decides, and its maker may change it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

_NOT_IN_EU = (
    "Its multimodal models are not licensed to people living in, and companies seated in, the European Union; whoever "
    "only uses a product that holds one is (acceptable use policy)."
)
_META = "Copyright © Meta Platforms, Inc. All Rights Reserved."

_NOT_ON_THE_HUB = frozenset({"qwen", "qwen-research", "tongyi-qianwen", "yi-license"})  # it has no word for these


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence and its duties.

    Attributes:
        code: As the hub writes it in the head of a model card; empty where nobody knows.
        name: What people call it.
        duties: What somebody who shares must do, a sentence each, with the clause of the licence that asks for it.
        notice: Text that must stand in a file NOTICE beside the weights; empty where none is asked for.
        name_prefix: What the name of a shared model must begin with.
        display: What must be shown to people, such as `Built with Llama`.
        link: Where the licence is read.
    """

    code: str
    name: str
    duties: tuple[str, ...]
    notice: str = ""
    name_prefix: str = ""
    display: str = ""
    link: str = ""

    @property
    def hub_code(self) -> str:
        """The code where the Hub has a word for it, else `other`; empty where nobody knows."""
        is_known = self.code in LICENCES and self.code not in _NOT_ON_THE_HUB
        return self.code if is_known or not self.code else "other"


def _llama(version: str, *, code: str, display: str, prefix: str, outputs: str) -> Licence:
    full = f"Meta Llama {version}" if version == "3" else f"Llama {version}"
    community = "LLAMA 2" if version == "2" else full
    shown = (f"Show “{display}” on the page, in the app or in its documentation (1.b.i).",) if display else ()
    named = (f"Let the name of the shared model begin with “{prefix}” (1.b.i).",) if prefix else ()
    vision = version in ("3.2", "4")
    return Licence(
        code=code,
        name=f"{full} Community License",
        duties=(
            "Pass on a copy of the licence (1.b.i).",
            "Put the notice below into a file named NOTICE (1.b.iii).",
            *shown,
            *named,
            f"Keep to the acceptable use policy of Llama {version}, and let nobody use it against that (1.b.iv).",
            outputs,
            "With more than 700 million monthly users at the model's release, ask Meta for a licence (2).",
            *((_NOT_IN_EU,) if vision else ()),
        ),
        notice=f"{full} is licensed under the {community} Community License, {_META}",
        name_prefix=prefix,
        display=display,
        link=f"https://www.llama.com/llama{version.replace('.', '_')}/license",
    )


_NO_OUTPUTS = "Do not use it or its replies to improve other language models than those made of it (1.b.v)."
_OUTPUTS = "A model trained on its replies and shared must carry the same prefix in its name (1.b.i)."
_QWEN_NOTICE = "Qwen is licensed under the Qwen {} AGREEMENT, Copyright (c) Alibaba Cloud. All Rights Reserved."
_QWEN_DISPLAY = (
    "Where you share a model trained on it or on its replies, show “Built with Qwen” or “Improved using Qwen” in its "
    "documentation"
)
_QWEN_SHARING = (
    "Pass on a copy of the licence (3.a).",
    "Say in changed files that they were changed (3.b).",
    "Put the notice below into a file named Notice (3.c).",
)
_QWEN_USERS = "With a commercial product of more than 100 million monthly users, ask Alibaba Cloud for a licence (4)."
# Clauses are those of the texts the makers publish: Llama 2 (2023-07-18) to 4 (2025-04-05), Gemma (2026-04-01), Qwen
# and Qwen Research (2024-09-19), Tongyi Qianwen (2023-08-03), Yi (1.0, 2023-11-01), Apache 2.0.
LICENCES = {
    licence.code: licence
    for licence in (
        _llama("2", code="llama2", display="", prefix="", outputs=_NO_OUTPUTS),
        _llama("3", code="llama3", display="Built with Meta Llama 3", prefix="Llama 3", outputs=_NO_OUTPUTS),
        _llama("3.1", code="llama3.1", display="Built with Llama", prefix="Llama", outputs=_OUTPUTS),
        _llama("3.2", code="llama3.2", display="Built with Llama", prefix="Llama", outputs=_OUTPUTS),
        _llama("3.3", code="llama3.3", display="Built with Llama", prefix="Llama", outputs=_OUTPUTS),
        _llama("4", code="llama4", display="Built with Llama", prefix="Llama", outputs=_OUTPUTS),
        Licence(
            "gemma",
            "Gemma Terms of Use",
            (
                "Pass on a copy of the terms (3.1.b).",
                "Make the restrictions of section 3.2 part of what those agree to who get or use the model, hosted use "
                "included, and tell them so (3.1.a).",
                "Say clearly in changed files that they were changed (3.1.c).",
                "Put the notice below into a file named NOTICE; a hosted service needs none (3.1.d).",
                "Keep to Google's prohibited use policy (3.2).",
                "A model trained on its replies to behave like it falls under the same terms (1.1).",
            ),
            notice="Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
            link="https://ai.google.dev/gemma/terms",
        ),
        Licence(
            "apache-2.0",
            "Apache License 2.0",
            (
                "Pass on a copy of the licence (4.a).",
                "Say in changed files that they were changed: this is a fine-tuned model (4.b).",
                "Keep notices of copyright (4.c), and the contents of a NOTICE file where the base has one (4.d).",
            ),
            link="https://www.apache.org/licenses/LICENSE-2.0",
        ),
        Licence(
            "mit",
            "MIT License",
            ("Pass on the licence with its notice of copyright.",),
            link="https://opensource.org/license/mit",
        ),
        Licence(
            "qwen",
            "Qwen License Agreement",
            (*_QWEN_SHARING, f"{_QWEN_DISPLAY} (5.b).", _QWEN_USERS),
            notice=_QWEN_NOTICE.format("LICENSE"),
        ),
        Licence(
            "qwen-research",
            "Qwen Research License Agreement",
            (
                "Neither you nor those you share it with may use it for anything but research and evaluation (1.i, "
                "2.a); for commercial use, ask Alibaba Cloud for a licence (2.b).",
                *_QWEN_SHARING,
                f"{_QWEN_DISPLAY} (4.b).",
            ),
            notice=_QWEN_NOTICE.format("RESEARCH LICENSE"),
        ),
        Licence(
            "tongyi-qianwen",
            "Tongyi Qianwen License Agreement",
            (
                *_QWEN_SHARING,
                "Do not use it or its replies to improve other language models than those made of it (5.b).",
                _QWEN_USERS,
            ),
            notice="Tongyi Qianwen is licensed under the Tongyi Qianwen LICENSE AGREEMENT, "
            "Copyright (c) Alibaba Cloud. All Rights Reserved.",
        ),
        Licence(
            "yi-license",
            "Yi Series Models License Agreement",
            (
                "Pass on a copy of the licence, and say that the model was made of a Yi model by 01.AI (2.4).",
                "Say what was changed (2.5).",
                "Keep to its restrictions of use, which rule out violence and pornography, military use, and what "
                "breaks the laws of your country or of mainland China (2.1 to 2.3).",
                "Commercial use needs 01.AI's written permission under this older licence (2; an application under its "
                "successor, 2.1); since 2024 the Yi models of 01.AI themselves are under Apache 2.0. Look up which one "
                "your copy of the base came with.",
            ),
        ),
    )
}
UNKNOWN = Licence(
    "",
    "",
    ("The base model's licence applies to these weights; look it up on the base model's own page before sharing.",),
)

# Which licence the makers' own repositories carry, the more special names first. A copy by somebody else, whose card
# is not at hand, is read by the same words; it cannot loosen what the maker asks.
_FAMILIES: tuple[tuple[str, str], ...] = (
    (r"smollm|huggingfacetb/", "apache-2.0"),
    (r"qwen2-(?:math-)?72b|qwen1\.5-(?:7|14|32|72|110)b", "tongyi-qianwen"),
    (r"qwen2\.5-(?:math-)?72b", "qwen"),
    (r"qwen2\.5-(?:coder-)?3b", "qwen-research"),
    (r"qwen(?:2|2\.5|3|3\.\d)-", "apache-2.0"),
    (r"yi-(?:34b-200k|6b-200k)", "yi-license"),
    (r"(?:^|/)yi-1\.5-", "apache-2.0"),
    (r"(?:meta-)?llama-?4", "llama4"),
    (r"(?:meta-)?llama-?3\.3", "llama3.3"),
    (r"(?:meta-)?llama-?3\.2", "llama3.2"),
    (r"(?:meta-)?llama-?3\.1", "llama3.1"),
    (r"(?:meta-)?llama-?3(?!\d)", "llama3"),
    (r"(?:meta-)?llama-?2(?!\d)", "llama2"),
    (r"(?:^|/)gemma-4", "apache-2.0"),
    (r"(?:^|/)gemma", "gemma"),
    (r"mistralai/(?:mistral-7b|mistral-nemo|mistral-small-(?:24b|3)|mixtral|ministral-3)", "apache-2.0"),
    (r"(?:^|/)phi-(?:2|3|3\.5|4)", "mit"),
)


def write_notice(folder: Path, licence: Licence) -> None:
    """Write the file NOTICE that a licence asks for beside what is shared; one that the base brought stays.

    Args:
        folder: The export.
        licence: The base's.

    Raises:
        OSError: The folder cannot be written.
    """
    path = folder / "NOTICE"
    if licence.notice and not path.exists():
        path.write_text(f"{licence.notice}\n", encoding="utf-8")


def licence_of(base: str, *, said: str = "") -> Licence:
    """Return the licence of a base.

    Args:
        base: What it is called in public.
        said: The licence its own model card names, which decides where there is one.
    """
    code = said.strip().lower()
    if code and code != "other":
        return LICENCES.get(code, Licence(code, said.strip(), UNKNOWN.duties))
    name = base.lower()
    found = next((code for words, code in _FAMILIES if re.search(words, name)), "")
    return LICENCES.get(found, UNKNOWN)
