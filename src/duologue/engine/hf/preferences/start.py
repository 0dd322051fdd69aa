"""The adapter that a run on feedback begins with."""

from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file

from duologue.engine.hf.merge import require_all_keys
from duologue.engine.hf.trust import require_plain_adapter
from duologue.engine.job import Adapter
from duologue.errors import EngineError

ADAPTER_FILE = "adapter_model.safetensors"


def put_start(model: PeftModel, start: Adapter) -> None:
    """Give a fresh adapter the weights of a trained one, each in the type that is trained.

    Raises:
        EngineError: The file is not there, or its matrices are not those of the model.
    """
    require_plain_adapter(start)
    require_all_keys(model, start)
    try:
        set_peft_model_state_dict(model, load_file(start.folder / ADAPTER_FILE))
    except (RuntimeError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise EngineError(
            f"the adapter to start from has another shape than the run ({first_line})",
            where=str(start.folder),
            action="Start from another run with --start.",
        ) from error
