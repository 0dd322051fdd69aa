"""Which form each tensor takes: llama.cpp's own choice (llama-quant.cpp), so that a file is what its name promises."""

from dataclasses import dataclass

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from duologue.engine.gguf_writing import GgufForm

Kind = GGMLQuantizationType
PLAIN = (Kind.F32, Kind.F16, Kind.BF16)
_KINDS: dict[GgufForm, Kind] = {
    "f32": Kind.F32,
    "f16": Kind.F16,
    "bf16": Kind.BF16,
    "q8_0": Kind.Q8_0,
    "q6_k": Kind.Q6_K,
    "q5_k_m": Kind.Q5_K,
    "q4_k_m": Kind.Q4_K,
    "q3_k_m": Kind.Q3_K,
}
FILE_TYPES: dict[GgufForm, LlamaFileType] = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "bf16": LlamaFileType.MOSTLY_BF16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
    "q6_k": LlamaFileType.MOSTLY_Q6_K,
    "q5_k_m": LlamaFileType.MOSTLY_Q5_K_M,
    "q4_k_m": LlamaFileType.MOSTLY_Q4_K_M,
    "q3_k_m": LlamaFileType.MOSTLY_Q3_K_M,
}
# Forms with shorter blocks for rows that are no multiple of 256.
_SHORTER = {Kind.Q3_K: Kind.Q4_0, Kind.Q4_K: Kind.Q5_0, Kind.Q5_K: Kind.Q5_1, Kind.Q6_K: Kind.Q8_0}


@dataclass(frozen=True, slots=True)
class Mix:
    """What decides about the forms besides a tensor's own name and shape.

    Attributes:
        form: What the person asked for.
        num_layers: Blocks of the model.
        has_tied_embeddings: Whether the embedding is also the output.
        is_70b: Whether llama.cpp counts the model among those whose small value projections get more bits.
    """

    form: GgufForm
    num_layers: int
    has_tied_embeddings: bool
    is_70b: bool

    def kind(self, name: str, shape: tuple[int, ...]) -> Kind:
        """Return the form of a tensor.

        Args:
            name: Its name in the file.
            shape: Rows and columns, or its length.
        """
        if len(shape) < 2 or not name.endswith(".weight") or name.endswith("_norm.weight"):
            return Kind.F32
        if _KINDS[self.form] in PLAIN:
            return _KINDS[self.form]
        wanted = self._wanted(name, shape[-1])
        if shape[-1] % _block(wanted):
            wanted = _SHORTER.get(wanted, wanted)
        return Kind.F16 if shape[-1] % _block(wanted) else wanted

    def _wanted(self, name: str, num_columns: int) -> Kind:
        kind = _KINDS[self.form]
        if name == "output.weight" or (name == "token_embd.weight" and self.has_tied_embeddings):
            return Kind.Q8_0 if num_columns % _block(kind) or kind == Kind.Q8_0 else Kind.Q6_K
        if not name.startswith("blk.") or not self.form.endswith("_m"):
            return kind
        layer, part = int(name.split(".")[1]), name.split(".")[2]
        if part in ("attn_v", "attn_qkv"):
            return self._value_kind(kind, layer)
        if part == "ffn_down":
            if self.form == "q3_k_m":
                return Kind.Q5_K if layer < self.num_layers // 16 else Kind.Q4_K
            return Kind.Q6_K if self._gets_more_bits(layer) else kind
        return Kind.Q4_K if part == "attn_output" and self.form == "q3_k_m" else kind

    def _value_kind(self, kind: Kind, layer: int) -> Kind:
        if self.form == "q3_k_m":
            kind = Kind.Q5_K if layer < 2 else Kind.Q4_K
        elif self._gets_more_bits(layer):
            kind = Kind.Q6_K
        return Kind.Q5_K if self.is_70b and kind == Kind.Q4_K else kind

    def _gets_more_bits(self, layer: int) -> bool:
        """Tell whether the layer is in the first or last eighth, or every third between them."""
        eighth = self.num_layers // 8
        return layer < eighth or layer >= 7 * self.num_layers // 8 or (layer - eighth) % 3 == 2


def num_bytes(kind: Kind, shape: tuple[int, ...]) -> int:
    """Return the size of a tensor in a form."""
    block, block_bytes = GGML_QUANT_SIZES[kind]
    count = 1
    for length in shape:
        count *= length
    return count // block * block_bytes


def _block(kind: Kind) -> int:
    return GGML_QUANT_SIZES[kind][0]
