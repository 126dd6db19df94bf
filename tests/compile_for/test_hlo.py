"""Figures read from pieces of real programs."""

import pytest

from ageflax.compile_for import hlo

# Pieces of a training step by the TPU compiler.
COMPILED = """\
HloModule jit_step, is_scheduled=true

%fused (param_0.1: bf16[256,56,56,48], param_1.1: bf16[2,2,48,96]) -> bf16[256,56,56,96] {
  %param_0.1 = bf16[256,57,57,48]{0,2,3,1:T(8,128)(2,1)S(1)} parameter(0)
  %param_1.1 = bf16[2,2,48,96]{3,1,2,0:T(8,128)(2,1)} parameter(1)
  ROOT %convolution.27 = bf16[256,56,56,96]{0,3,2,1:T(8,128)(2,1)} convolution(%param_0.1, %param_1.1), window={size=2x2}, dim_labels=b01f_01io->b01f, metadata={op_name="jit(step)/conv"}
}

ENTRY %main.36_spmd (param.13: s32[], param.14: f32[8,100]) -> f32[8,100] {
  %param.14 = f32[8,100]{1,0:T(8,128)} parameter(1)
  %copy.1 = bf16[8,64]{1,0:T(8,128)(2,1)} copy(%param.14)
  %copy.2 = bf16[8,64]{1,0:T(8,128)(2,1)S(1)} copy(%param.14)
  %fusion.9 = bf16[256,56,56,96]{0,3,2,1:T(8,128)(2,1)S(1)} fusion(%copy.2), kind=kOutput, calls=%fused
  %dot.5 = f32[8,8]{1,0:T(8,128)} dot(%param.14, %copy.1), lhs_contracting_dims={1}
  %all-reduce.17 = (f32[]{:T(128)}, f32[]{:T(128)}) all-reduce(%a, %b), channel_id=1, to_apply=%add
  %all-reduce-start.18 = (bf16[8]{0:T(256)(128)(2,1)}, /*index=1*/bf16[512,8]{0,1:T(8,128)(2,1)}) all-reduce-start(%c, %d), channel_id=2
  %all-reduce-done.18 = (bf16[8]{0:T(256)(128)(2,1)}, bf16[512,8]{0,1:T(8,128)(2,1)}) all-reduce-done(%all-reduce-start.18)
  %all-gather-start.1 = (f32[1,8]{1,0:T(1,128)}, f32[8,8]{1,0:T(8,128)}) all-gather-start(%e), dimensions={0}
  ROOT %custom-call.2 = f32[8,100]{1,0:T(8,128)} custom-call(%dot.5), custom_call_target="AllocateBuffer"
}
"""


def test_every_exchange_is_found_once_with_its_bytes() -> None:
    assert hlo.collectives(COMPILED) == [
        hlo.Collective("all-reduce", 8, ("f32",), 2),
        hlo.Collective("all-reduce", 2 * (8 + 512 * 8), ("bf16",), 2),
        hlo.Collective("all-gather", 8 * 8 * 4, ("f32",), 1),
    ]


def test_products_are_counted_by_the_types_of_their_operands() -> None:
    assert hlo.products(COMPILED) == {"bf16 x bf16": 1, "f32 x bf16": 1}


def test_products_of_stablehlo() -> None:
    text = """
    %5 = stablehlo.convolution(%3, %4) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], window = {stride = [4, 4]} {batch_group_count = 1 : i64} : (tensor<4x59x59x3xbf16>, tensor<7x7x3x10xbf16>) -> tensor<4x14x14x10xbf16>
    %9 = stablehlo.dot_general %7, %8, contracting_dims = [1] x [0] : (tensor<4x90xf32>, tensor<90x51xf32>) -> tensor<4x51xf32>
    """
    assert hlo.products(text) == {"bf16 x bf16": 1, "f32 x f32": 1}


def test_calls_of_the_host_are_found_and_other_calls_are_not() -> None:
    assert hlo.host_calls(COMPILED) == []
    text = """
    %1 = f32[] custom-call(%0), custom_call_target="xla_ffi_python_cpu_callback"
    %2 = (f32[], u32[], token[]) send(%1, %t), channel_id=3, is_host_transfer=true
    %3 = stablehlo.custom_call @xla_python_gpu_callback(%1) : (tensor<f32>) -> tensor<f32>
    """
    assert hlo.host_calls(text) == [
        "send",
        "xla_ffi_python_cpu_callback",
        "xla_python_gpu_callback",
    ]


def test_the_cycles_that_the_compiler_expects_are_added_up() -> None:
    config = 'backend_config={"window_config":{"estimated_cycles":"%d","iteration_bounds":["1"]}}'
    text = "\n".join(
        f"  %fusion.{n} = bf16[8]{{0}} fusion(%p), kind=kLoop, {config % n}" for n in (1828, 0, 7)
    )
    assert hlo.cycles(text) == 1835
    assert hlo.cycles("  %fusion = bf16[8]{0} fusion(%p), kind=kLoop") == 0


def test_padding_of_tiles_in_hbm() -> None:
    # copy.1 fills 64 of 128 lanes; arrays on the chip, and those not written, do not count.
    assert hlo.padding(COMPILED) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("kind", "padded"),
    [
        ("bf16[8,64]{1,0:T(8,128)(2,1)}", 8 * 128 * 2),
        ("bf16[8,64]{0,1:T(8,128)(2,1)}", 64 * 128 * 2),
        ("f32[3,5,130]{2,1,0:T(8,128)}", 3 * 8 * 256 * 4),
        ("f32[5]{0:T(128)}", 128 * 4),
        ("f32[]{:T(128)}", 4),
        ("u8[256,256,256,3]{2,1,3,0:T(32,128)(4,1)}", 256 * 3 * 256 * 256),
        ("f32[5,6]{1,0}", 5 * 6 * 4),
    ],
)
def test_lengths_are_filled_up_along_the_axes_that_lie_together(kind: str, padded: int) -> None:
    line = f"ROOT %copy.1 = {kind} copy(%x)"
    real = sum(a.bytes for a in hlo._arrays(kind))
    assert hlo.padding(f"\nENTRY %main {{\n{line}\n}}") == pytest.approx(padded / real - 1)


@pytest.mark.parametrize("text", ["", "no program", "ENTRY {", "\nENTRY %main () {\n}\n"])
def test_text_without_a_program_gives_nothing(text: str) -> None:
    assert hlo.collectives(text) == []
    assert hlo.products(text) == {}
    assert hlo.host_calls(text) == []
    assert hlo.padding(text) == 0.0
