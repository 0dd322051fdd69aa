"""Stack profiles: what each training stack keeps in memory and how fast it goes, for the same recipe.

The saved-tensor numbers follow five tables that were measured with autograd hooks, to the byte, on a Llama block
(h hidden, f feed-forward, k key/value width, r rank; without a constant of 4 bytes per head + 8):

| | all linear | q,k,v,o | q,v |
|---|---|---|---|
| A bf16 adapters, bf16 or NF4 base | 16h+8f+4k+14r | 14h+6f+4k+8r | 14h+6f+4k+4r |
| B float32 adapters, bf16 autocast | 24h+8f+4k+14r | 20h+6f+4k+8r | 16h+6f+4k+4r |
| C k-bit preparation, bf16 autocast | 24h+14f+4k+14r | 20h+12f+4k+8r | 16h+12f+4k+4r |
| D k-bit preparation, no autocast | 24h+16f+8k+28r | 20h+12f+8k+16r | 20h+12f+8k+8r |
| E float32 adapters, bf16 base, no autocast | 36h+10f+4k+28r | 28h+6f+4k+16r | 20h+6f+4k+8r |

What is not from those tables or from the sources of a library was read off published runs; each such number says so.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class StackProfile:
    """What one software stack does with a recipe. Bytes are per token unless said otherwise.

    Attributes:
        name: As the plan prints it.
        has_float32_stream: Block inputs in float32 (k-bit preparation).
        has_float32_tables: Embeddings, norms and head in float32 as well.
        attention_bytes: Element size of queries, keys, values and attention output.
        mlp_bytes: Element size of the feed-forward tensors.
        adapter_input_bytes: Element size of what an adapter keeps of its input.
        has_own_adapter_inputs: Every adapter keeps its own copy of its input (a cast); else adapters share it.
        adapter_output_bytes: Kept per unit of an adapted layer's output.
        adapter_bytes: Element size of adapter weights, gradients and optimizer state.
        norm_bytes: Kept per RMSNorm and hidden unit: its float32 copy is 4.
        rotary_bytes: Kept per rotated unit of attention width.
        repeats_keys: Keys and values are repeated for every query head before attention.
        are_weights_fused: Queries, keys and values come from one matrix, which keeps all three alive when none of them
            is repeated (2 x 2 further bytes per unit of width).
        kept_linear_inputs: Times a quantised layer's input is kept though its weight is frozen.
        has_math_attention: Attention probabilities are kept: no flash kernel.
        logit_bytes: Of the loss, per vocabulary entry and token with logits.
        logit_hidden_bytes: Beside them, per hidden unit.
        are_all_logits_computed: Also for tokens that are not targets.
        has_logits: False when the loss never holds logits (fused linear cross entropy).
        loss_chunk_tokens: Logits exist for so many tokens at once; 0 for all.
        loss_chunk_bytes: Or for so many that their float32 copy takes this; on a CPU an eighth of it.
        pads: Whether examples of unequal length are filled up to the longest of their micro-batch.
        gradient_inner_bytes, gradient_hidden_bytes: Of the gradients alive in the backward pass of one block.
        offloads_block_inputs: Checkpointed inputs go to system memory.
        is_head_quantised: The output projection is packed like the other linear layers.
        are_tables_split: Tied embeddings are held twice.
        are_experts_linear: The experts of a mixture are linear layers and are packed; else they stay 16 bit.
        has_paged_optimizer: The optimizer's states do not count as allocated.
        is_sharded: Weights and adapters are divided over the cards.
        are_weights_offloaded: And lie in system memory until a block's turn comes.
        step_bytes_per_param: Of the optimizer step, per adapter parameter, beside weights, gradients and state: AdamW
            over lists of tensors takes one more copy.
        fixed_bytes: Further bytes that do not depend on the run.
        load_bytes_per_param: Held while loading, per linear parameter, beside the packed weights.
        gap_logit_bytes: What the allocator keeps beyond the peak, per vocabulary entry and token with logits.
        gap_block: And as a share of one block's backward pass.
        traffic: How often every byte that a checkpointed block saves moves to or from the chip, all passes together.
        unpack_bytes: Moved to unpack one quantised parameter: NF4 reads 0.5 and writes 2.
        launch_seconds: Per block and micro-step with three passes: the floor at few tokens.
    """

    name: str
    has_float32_stream: bool = False
    has_float32_tables: bool = False
    attention_bytes: int = 2
    mlp_bytes: int = 2
    adapter_input_bytes: int = 2
    has_own_adapter_inputs: bool = True
    adapter_output_bytes: float = 0.0
    adapter_bytes: int = 4
    norm_bytes: float = 4.0
    rotary_bytes: float = 0.0
    repeats_keys: bool = False
    are_weights_fused: bool = False
    kept_linear_inputs: float = 0.0
    has_math_attention: bool = False
    logit_bytes: float = 14.0
    logit_hidden_bytes: float = 6.0
    are_all_logits_computed: bool = True
    has_logits: bool = True
    loss_chunk_tokens: int = 0
    loss_chunk_bytes: int = 0
    pads: bool = True
    gradient_inner_bytes: float = 6.0
    gradient_hidden_bytes: float = 6.0
    offloads_block_inputs: bool = False
    is_head_quantised: bool = False
    are_tables_split: bool = False
    are_experts_linear: bool = True
    has_paged_optimizer: bool = False
    is_sharded: bool = False
    are_weights_offloaded: bool = False
    step_bytes_per_param: float = 4.0
    fixed_bytes: float = 0.0
    load_bytes_per_param: float = 0.0
    gap_logit_bytes: float = 5.0
    gap_block: float = 0.25
    traffic: float = 35.0
    unpack_bytes: float = 2.5
    launch_seconds: float = 0.005


# What `train` runs: float32 adapters under bf16 autocast, no k-bit casts, logits for trained tokens only and in chunks,
# examples behind each other without padding (engine/hf/loss.py and attention.py).
# The head's product is bf16, its float32 copy, the log-softmax and its gradient are float32: 2 + 4 + 4 + 4.
# Its traffic was not measured on a GPU: it is the median of the five stock stacks below.
DUOLOGUE = StackProfile(
    "duologue",
    are_all_logits_computed=False,
    are_experts_linear=False,
    loss_chunk_bytes=2**28,
    pads=False,
    traffic=30.0,
)

PEFT = StackProfile("peft")  # transformers + PEFT under autocast, all logits (table B)
# PEFT without autocast: adapters in float32 next to a 16-bit base (table E), as in its own method comparison.
# Its runs reserve what they allocate: the longest batch comes once among thousands.
PEFT_PURE = replace(PEFT, name="peft without autocast", adapter_input_bytes=4, gap_logit_bytes=0.0, gap_block=0.0)
# DoRA keeps the layer's own output and the adapter's as well: 2 + 4. A quarter more time in the same comparison.
PEFT_DORA = replace(PEFT_PURE, name="peft dora", adapter_output_bytes=6.0, traffic=47.0)
# TRL since 2026: adapters in the base's 16 bit, loss in chunks of 256 tokens (table A).
TRL = replace(PEFT, name="trl", has_own_adapter_inputs=False, adapter_bytes=2, loss_chunk_tokens=256)
# k-bit preparation; the head in float32, whose logits need no cast but a shifted copy: 4 + 4 + 4 + 4 (table C).
HF_KBIT = replace(
    PEFT,
    name="hf-kbit",
    has_float32_stream=True,
    has_float32_tables=True,
    mlp_bytes=4,
    logit_bytes=16.0,
    # Gradients of gate and up in float32, read off Mixtral-8x7B after k-bit preparation (60.546 GB).
    gradient_inner_bytes=8.0,
    gradient_hidden_bytes=6.0,
    gap_logit_bytes=2.3,  # 1.2 to 3.5 in seven runs with torch 2.6
    traffic=33.0,
)
# On Windows torch has no flash kernel: with grouped queries attention keeps its probabilities.
# Its driver model launches kernels more slowly: 9 ms per block, read off 0.5B and 1.5B at 1,024 tokens.
HF_KBIT_WINDOWS = replace(
    HF_KBIT, name="hf-kbit on Windows", has_math_attention=True, traffic=30.0, launch_seconds=0.009
)
HF_WINDOWS = replace(PEFT, name="peft on Windows", has_math_attention=True, traffic=30.0, launch_seconds=0.009)
# IBM fms-acceleration, tables refs/a100_80gb*.csv: transformers 4.45 to 4.48, FlashAttention 2, packed 4,096 tokens.
FMS_PLAIN = replace(PEFT, name="fms-plain")
FMS_KBIT = replace(
    HF_KBIT, name="fms-kbit", has_float32_tables=False, logit_bytes=14.0, gap_logit_bytes=6.0, traffic=37.0
)
# Fused kernels: the cross entropy overwrites the logits with their gradient (10 in the first table, 8 in the later
# ones), fused adapters leave 6f of gradients in a block; 2h more over a 16-bit base. Read off Llama-3-8B and Mistral.
FMS_FOAK = replace(
    PEFT,
    name="fms-foak",
    logit_bytes=10.0,
    logit_hidden_bytes=4.0,
    gradient_hidden_bytes=0.0,
    gap_logit_bytes=7.0,
    traffic=23.0,
)
FMS_LIGER = replace(FMS_FOAK, name="fms-liger", has_logits=False)
# litgpt: bf16 throughout, one matrix for q, k and v, tied tables split, RMSNorm in float32, positions partly float32.
LITGPT = StackProfile(
    "litgpt",
    has_own_adapter_inputs=False,
    adapter_bytes=2,
    repeats_keys=True,
    are_weights_fused=True,
    rotary_bytes=3.6,
    logit_bytes=11.0,
    logit_hidden_bytes=0.0,
    are_tables_split=True,
    is_head_quantised=True,
    has_paged_optimizer=True,
    # bitsandbytes' 4-bit product kept its input for the backward pass (autograd/_functions.py: ctx.tensors = (A, B)).
    kept_linear_inputs=1.0,
)
# The same in the runs of config_hub, a year later: twice as much, read off four NF4 runs on an A10G.
LITGPT_HUB = replace(LITGPT, name="litgpt config_hub", kept_linear_inputs=2.1)
UNSLOTH = StackProfile(
    "unsloth",
    has_own_adapter_inputs=False,
    has_logits=False,
    offloads_block_inputs=True,
    # 55 bytes per hidden unit and token over 16 to 80 GB in its own table of longest contexts: gradients take the
    # place of the tensors they belong to.
    gradient_inner_bytes=0.0,
    gap_block=0.0,
    fixed_bytes=0.6e9,
    traffic=22.0,
)
# torchtune: adapters and their state in bf16; the loss takes bf16 logits (2) and casts an eighth at once (0.5).
TORCHTUNE = StackProfile(
    "torchtune",
    has_own_adapter_inputs=False,
    adapter_bytes=2,
    logit_bytes=2.5,
    logit_hidden_bytes=2.0,
    gap_logit_bytes=0.0,
    gap_block=0.0,
    traffic=22.0,
)
# Its first QLoRA tutorial packed on the card: 9.13 GB at the start of Llama 2 7B, where 3.86 are weights.
TORCHTUNE_FIRST_QLORA = replace(TORCHTUNE, name="torchtune, first qlora", load_bytes_per_param=0.81)
# Answer.AI fsdp_qlora: transformers + PEFT in bf16; DDP holds all weights, FSDP a share and two unpacked blocks.
ANSWERAI = replace(PEFT, name="answerai", traffic=20.0)
ANSWERAI_FSDP = replace(ANSWERAI, name="answerai fsdp", is_sharded=True)
ANSWERAI_OFFLOAD = replace(ANSWERAI_FSDP, name="answerai fsdp with offload", are_weights_offloaded=True)
# Qwen's first finetune.py, read off its README. GPTQ weights run under DeepSpeed without autocast, so the loss stays in
# 16 bit; ZeRO-2 adds buckets and, at the step, flat copies of the adapter.
QWEN1 = replace(PEFT, name="qwen1", gap_logit_bytes=0.0, gap_block=0.0, fixed_bytes=0.9e9, traffic=30.0)
QWEN1_GPTQ = replace(
    QWEN1,
    name="qwen1 gptq",
    logit_bytes=8.6,
    fixed_bytes=1.6e9,
    step_bytes_per_param=10.0,
    unpack_bytes=7.7,  # 14 ps per parameter and pass on an A100
    launch_seconds=0.007,
)
