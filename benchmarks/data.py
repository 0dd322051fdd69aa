"""Preparing 100,000 conversations, by duologue and by TRL's own dataset preparation, in one run on one machine.

The conversations vary real ones (`../shared/data` beside the project): two thirds from Synthetic-Persona-Chat, one
third from GPTeacher's roleplay set. By a seed, first names become other first names, numbers other numbers with as many
digits, the sentences of a message with three or more change places, the exchanges after the first change places, and
one to four roleplay instructions become one conversation. No two conversations are equal. Both sides get the same JSONL
file of OpenAI messages, the same tokenizer and chat template (SmolLM2's; TRL's copy has its generation marks, without
which it cannot mask), 1,024 tokens per example, best-fit packing and the same number of processes. Both start with the
file and end with packed token ids and labels on disk; imports and the tokenizer's loading are left out on both sides.
duologue also looks for duplicates, personal data and what the content policy refuses, and splits; a run without that
does the same work as TRL.

    python benchmarks/data.py --num-conversations 100000 --out benchmarks/results/data.json
    python benchmarks/data.py --memory     # peak memory on a file of 2 GB, instead

TRL and datasets are no dependencies of duologue: install them beside it (pip install trl==1.16.0 datasets==5.2.0).
"""

import argparse
import json
import os
import platform
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
BASE = "bundled:smollm2-135m"
MAX_LENGTH_TOKENS = 1024
NAMES = ["Aaron", "Abby", "Alan", "Alex", "Alice", "Amy", "Andrew", "Angela", "Anna", "Ben", "Beth", "Bill", "Bob"]
NAMES += ["Brian", "Carl", "Carol", "Charlie", "Chris", "Claire", "Dan", "David", "Diana", "Emily", "Emma", "Eric"]
NAMES += ["Eva", "Frank", "Fred", "George", "Grace", "Hannah", "Harry", "Helen", "Henry", "Jack", "Jake", "James"]
NAMES += ["Jane", "Jason", "Jen", "Jessica", "Jim", "Joe", "John", "Julia", "Karen", "Kate", "Kevin", "Laura"]
NAMES += ["Leo", "Linda", "Lisa", "Lucy", "Luke", "Maria", "Mark", "Mary", "Matt", "Max", "Mia", "Michael", "Mike"]
NAMES += ["Nancy", "Nick", "Nina", "Oliver", "Paul", "Peter", "Rachel", "Ralph", "Rob", "Rose", "Sam", "Sarah"]
NAMES += ["Sophie", "Steve", "Sue", "Thomas", "Tim", "Tom", "Victor", "Will"]
NAME = re.compile(rf"\b(?:{'|'.join(NAMES)})\b")
NUMBER = re.compile(r"\d+")
SENTENCE = re.compile(r"(?<=[.!?]) +")
Messages = list[dict[str, str]]

# SmolLM2's template as its GGUF carries it, with TRL's marks around what the assistant says.
TRL_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] + '<|im_end|>' + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def main() -> None:
    """Measure and print."""
    arguments = parse()
    if arguments.child:
        print(json.dumps(CHILDREN[arguments.child](arguments)))
        return
    if not DATA.is_dir():
        sys.exit(f"skipped: {DATA} is not there")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        arguments.folder = Path(temporary)
        results = measure_memory(arguments) if arguments.memory else measure_speed(arguments)
    document = {
        "benchmark": "data",
        "machine": {"platform": platform.platform(), "processor": processor(), "python": platform.python_version()},
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "num_processes": arguments.num_processes,
        **results,
    }
    print(json.dumps(document, indent=2) if arguments.is_json else summary(document))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        before = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.is_file() else {}
        arguments.out.write_text(json.dumps({**before, **document}, indent=2) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-conversations", type=int, default=100_000)
    parser.add_argument("--num-processes", type=int, default=1, help="processes on both sides")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", action="store_true", help="measure peak memory on a large file instead of the time")
    parser.add_argument("--memory-gb", type=float, default=2.0, help="size of that file in 1e9 bytes")
    parser.add_argument("--folder", type=Path, help="where temporary files are made")
    parser.add_argument("--json", action="store_true", dest="is_json")
    parser.add_argument("--out", type=Path, help="JSON file that receives the results")
    parser.add_argument("--child", choices=list(CHILDREN), help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_speed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Prepare the same file with both, each in a process of its own, and once more from the cache."""
    folder = make_folder(arguments.folder, varied(arguments.num_conversations, arguments.seed))
    ours = child("duologue", folder, arguments)
    cached = child("duologue", folder, arguments)
    same_work = child("same-work", folder, arguments)
    missing = [name for name in ("trl", "datasets") if find_spec(name) is None]
    if missing:
        print(f"{' and '.join(missing)} not installed here: only duologue is measured", file=sys.stderr)
        peer = None
    else:
        peer = child("trl", folder, arguments)
    return {
        "num_conversations": arguments.num_conversations,
        "file_bytes": (folder / "data" / "chats.jsonl").stat().st_size,
        "duologue": ours,
        "trl": peer,
        "times_faster_than_trl": peer["seconds"] / ours["seconds"] if peer else None,
        "same_work": same_work,
        "times_faster_at_the_same_work": peer["seconds"] / same_work["seconds"] if peer else None,
        "cached": cached,
        "cached_fraction": cached["seconds"] / ours["seconds"],
    }


def measure_memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Prepare a large file and return the peak resident memory of the process that did it."""
    wanted = int(arguments.memory_gb * 1e9)
    folder = make_folder(arguments.folder, repeated(varied(20_000, arguments.seed), wanted))
    result = child("duologue", folder, arguments)
    return {"memory": {"file_bytes": (folder / "data" / "chats.jsonl").stat().st_size, **result}}


def child(name: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one side in a process of its own."""
    command = [sys.executable, __file__, "--child", name, "--folder", str(folder)]
    command += ["--num-processes", str(arguments.num_processes)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    environment |= {"RAYON_NUM_THREADS": str(arguments.num_processes), "OMP_NUM_THREADS": str(arguments.num_processes)}
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


def make_folder(parent: Path, conversations: Iterator[Messages]) -> Path:
    """Write a character's folder with the conversations as one JSONL file."""
    folder = parent / "character"
    (folder / "data").mkdir(parents=True)
    with (folder / "data" / "chats.jsonl").open("w", encoding="utf-8") as stream:
        for messages in conversations:
            stream.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    (folder / "duologue.toml").write_text(
        f'[model]\nbase = "{BASE}"\n[data]\ntrain = ["data/chats.jsonl"]\nvalidation_fraction = 0.01\n'
        f"max_length_tokens = {MAX_LENGTH_TOKENS}\n",
        encoding="utf-8",
    )
    return folder


def varied(num_conversations: int, seed: int) -> Iterator[Messages]:
    """Yield conversations made by varying the real ones; no two are equal."""
    rng = random.Random(seed)
    chats, tasks = real_chats(), real_tasks()
    seen: set[int] = set()
    while len(seen) < num_conversations:
        if rng.random() < 2 / 3:
            messages = vary_chat(rng.choice(chats), rng)
        else:
            messages = [message for task in rng.sample(tasks, rng.randint(1, 4)) for message in vary_chat(task, rng)]
        digest = hash(tuple(message["content"] for message in messages))
        if digest not in seen:
            seen.add(digest)
            yield messages


def repeated(conversations: Iterator[Messages], num_bytes: int) -> Iterator[Messages]:
    """Yield the conversations again and again, each time with another number in front, until a size is reached."""
    kept = list(conversations)
    written, at = 0, 0
    while written < num_bytes:
        messages = [dict(message) for message in kept[at % len(kept)]]
        if at >= len(kept):
            for message in messages:
                message["content"] = f"{at // len(kept)}. {message['content']}"
        written += len(json.dumps({"messages": messages}, ensure_ascii=False).encode()) + 1
        at += 1
        yield messages


def vary_chat(messages: Messages, rng: random.Random) -> Messages:
    """Return the messages with other names, numbers, order of sentences and order of exchanges."""
    names: dict[str, str] = {}

    def vary_text(text: str) -> str:
        text = NAME.sub(lambda found: names.setdefault(found[0], rng.choice(NAMES)), text)
        text = NUMBER.sub(lambda found: "".join(rng.choice("123456789") for _ in found[0]), text)
        sentences = SENTENCE.split(text)
        if len(sentences) >= 3:
            rng.shuffle(sentences)
        return " ".join(sentences)

    head = [message for message in messages if message["role"] == "system"]
    spoken = [message for message in messages if message["role"] != "system"]
    exchanges = [spoken[at : at + 2] for at in range(0, len(spoken), 2)]
    later = exchanges[1:-1] if len(spoken) % 2 else exchanges[1:]
    rng.shuffle(later)
    order = [*head, *exchanges[0], *(message for exchange in later for message in exchange)]
    return [{"role": message["role"], "content": vary_text(message["content"])} for message in order]


def real_chats() -> list[Messages]:
    """Return the real two-person conversations whose roles alternate, user first."""
    roles = {"human": "user", "gpt": "assistant"}
    rows: list[Messages] = []
    for row in json.loads((DATA / "personachat_sharegpt.json").read_text(encoding="utf-8")):
        said = [{"role": roles.get(m["from"], m["from"]), "content": m["value"]} for m in row["conversations"]]
        system = [{"role": "system", "content": row["system"]}] if row.get("system") else []
        rows.append(system + said)
    with (DATA / "personachat_messages.jsonl").open(encoding="utf-8") as stream:
        rows += [json.loads(line)["messages"] for line in stream]
    return [messages for messages in rows if alternates(messages)]


def real_tasks() -> list[Messages]:
    """Return the real roleplay instructions."""
    rows = json.loads((DATA / "roleplay_alpaca.json").read_text(encoding="utf-8"))
    texts = [(f"{row['instruction']}\n\n{row['input']}".strip(), row["response"]) for row in rows]
    return [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in texts
        if question.strip() and answer.strip()
    ]


def alternates(messages: Messages) -> bool:
    """Return whether user and assistant take turns, user first, and nobody is silent."""
    spoken = [message for message in messages if message["role"] != "system"]
    roles = [message["role"] for message in spoken]
    expected = ["user", "assistant"] * len(roles)
    return len(roles) > 1 and roles == expected[: len(roles)] and all(message["content"].strip() for message in spoken)


def run_duologue(arguments: argparse.Namespace) -> dict[str, Any]:
    """Prepare the folder with duologue, from the file to packed examples."""
    from duologue.characters import Character
    from duologue.config import load_config
    from duologue.data import prepare_examples
    from duologue.engine import BaseModel, Event, open_trainer, pack

    config = load_config(arguments.folder / "duologue.toml")
    tokenizer = open_trainer("hf").tokenizer(BaseModel(BASE))
    phases: dict[str, float] = {}

    def on_event(event: Event) -> None:
        if event.name == "preparing":
            phases[event.values["what"]] = event.values["seconds"]

    idle_bytes = peak_memory_bytes()
    begin = time.perf_counter()
    sets = prepare_examples(
        config, arguments.folder, tokenizer=tokenizer, character=Character("Character"), on_event=on_event
    )
    prepared = time.perf_counter()
    stats = sets.stats
    rows = pack(stats.lengths, MAX_LENGTH_TOKENS, seed=config.run.seed)
    done = time.perf_counter()
    tokens = sets.account.tokens
    return {
        "seconds": done - begin,
        "seconds_by_step": {**phases, "prepare": prepared - begin, "pack": done - prepared},
        "num_conversations": sets.account.num_conversations,
        "num_tokens": tokens.total,
        "num_trained_tokens": tokens.trained,
        "num_examples": stats.num_train_examples + stats.num_validation_examples,
        "num_packed": len(rows),
        "filled_fraction": stats.num_tokens / (len(rows) * MAX_LENGTH_TOKENS),
        "peak_memory_bytes": peak_memory_bytes(),
        "idle_memory_bytes": idle_bytes,
    }


def run_same_work(arguments: argparse.Namespace) -> dict[str, Any]:
    """Do what TRL does with duologue's steps: read, normalise, tokenize, label, pack; nothing is screened."""
    from duologue.characters import Character
    from duologue.data import RenderSettings, render_all
    from duologue.data.formats import read_dialogues
    from duologue.data.found import Dialogue
    from duologue.data.normalise import NormaliseSettings, normalise
    from duologue.data.read import open_rows
    from duologue.data.store import ExampleWriter
    from duologue.engine import BaseModel, open_trainer, pack
    from duologue.messages import Conversation

    tokenizer = open_trainer("hf").tokenizer(BaseModel(BASE))
    begin = time.perf_counter()

    def conversations() -> Iterator[Conversation]:
        opened = open_rows(arguments.folder / "data" / "chats.jsonl")
        for dialogue in read_dialogues(opened.rows(), container=opened.container):
            if isinstance(dialogue, Dialogue):
                yield normalise(dialogue, path="chats.jsonl", settings=NormaliseSettings())[0]

    settings = RenderSettings("User", MAX_LENGTH_TOKENS)
    writer = ExampleWriter(arguments.folder / "same-work.examples")
    for rendered in render_all(conversations(), tokenizer, character=Character("Character"), settings=settings):
        for example in rendered.examples:
            writer.append(example)
    store = writer.finish()
    rows = pack(store.lengths, MAX_LENGTH_TOKENS, seed=0)
    return {
        "seconds": time.perf_counter() - begin,
        "num_tokens": sum(store.lengths),
        "num_trained_tokens": sum(store.num_trained),
        "num_packed": len(rows),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def run_trl(arguments: argparse.Namespace) -> dict[str, Any]:
    """Prepare the folder's file with TRL: load_dataset, then what SFTTrainer does with it."""
    import datasets
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    from duologue.engine.bundled import bundled_file

    file = bundled_file(BASE)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(file.parent), gguf_file=file.name)
    tokenizer.chat_template = TRL_TEMPLATE
    seconds: dict[str, float] = {}

    class TimedTrainer(SFTTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, *args: object, **kwargs: object) -> datasets.Dataset:
            begin = time.perf_counter()
            prepared = super()._prepare_dataset(*args, **kwargs)
            seconds["prepare"] = time.perf_counter() - begin
            return prepared

    begin = time.perf_counter()
    path = str(arguments.folder / "data" / "chats.jsonl")
    dataset = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(arguments.folder / "arrow"))
    seconds["load"] = time.perf_counter() - begin
    config = LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    config.vocab_size = len(tokenizer)
    trainer = TimedTrainer(
        model=LlamaForCausalLM(config),
        args=SFTConfig(
            output_dir=str(arguments.folder / "out"),
            max_length=MAX_LENGTH_TOKENS,
            packing=True,
            packing_strategy="bfd",
            assistant_only_loss=True,
            dataset_num_proc=arguments.num_processes if arguments.num_processes > 1 else None,
            use_cpu=True,
            bf16=False,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=dataset,
        processing_class=tokenizer,
    )
    begin = time.perf_counter()
    packed = trainer.train_dataset
    num_tokens = sum(len(ids) for ids in packed["input_ids"])
    num_trained = sum(label != -100 for labels in packed["labels"] for label in labels)
    return {
        "seconds": seconds["load"] + seconds["prepare"],
        "seconds_by_step": seconds,
        "num_tokens": num_tokens,
        "num_trained_tokens": num_trained,
        "num_packed": len(packed),
        "filled_fraction": num_tokens / (len(packed) * MAX_LENGTH_TOKENS),
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": versions("trl", "datasets", "transformers", "tokenizers"),
    }


def peak_memory_bytes() -> int:
    """Return the peak resident memory of this process and of its largest child."""
    scale = 1 if sys.platform == "darwin" else 1024
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(peaks) * scale


def versions(*packages: str) -> dict[str, str]:
    """Return the installed versions."""
    from importlib.metadata import version

    return {name: version(name) for name in packages}


def summary(document: dict[str, Any]) -> str:
    """Return the results in words."""
    if "memory" in document:
        memory = document["memory"]
        return (
            f"{memory['file_bytes'] / 1e9:.2f} GB prepared in {memory['seconds']:.0f} s with at most "
            f"{memory['peak_memory_bytes'] / 1e9:.2f} GB of resident memory"
        )
    ours, peer, cached = document["duologue"], document["trl"], document["cached"]
    lines = [f"duologue {ours['seconds']:.1f} s, again from the cache {cached['seconds']:.2f} s"]
    if peer:
        same = document["same_work"]["seconds"]
        lines.append(f"TRL {peer['seconds']:.1f} s: duologue is {document['times_faster_than_trl']:.2f} times as fast")
        lines.append(f"without screening, {same:.1f} s: {document['times_faster_at_the_same_work']:.2f} times as fast")
    return "\n".join(lines)


def processor() -> str:
    """Return the processor's name where the system tells it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} threads" if names else platform.processor()


CHILDREN = {"duologue": run_duologue, "same-work": run_same_work, "trl": run_trl}

if __name__ == "__main__":
    main()
