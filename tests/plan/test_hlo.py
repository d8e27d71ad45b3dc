"""What the text of a compiled program tells: how often, how much, from whom to whom."""

import pytest

from slimjax.plan.collectives import count_collectives, group_size
from slimjax.plan.hlo import Program
from slimjax.plan.work import count_work

LOOPS = """HloModule jit_step, num_partitions=8

%body (p: (s32[], bf16[4,8], bf16[8,16])) -> (s32[], bf16[4,8], bf16[8,16]) {
  %p = (s32[], bf16[4,8]{1,0}, bf16[8,16]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %one = s32[] constant(1)
  %next = s32[] add(%i, %one)
  %x = bf16[4,8]{1,0} get-tuple-element(%p), index=1
  %w = bf16[8,16]{1,0} get-tuple-element(%p), index=2
  %all-gather-start.1 = (bf16[4,8]{1,0}, bf16[8,8]{1,0}) all-gather-start(%x), \
channel_id=1, replica_groups=[4,2]<=[8], dimensions={0}
  %all-gather-done.1 = bf16[8,8]{1,0} all-gather-done(%all-gather-start.1)
  %y = f32[8,16]{1,0} convolution(%all-gather-done.1, %w), dim_labels=bf_io->bf
  ROOT %out = (s32[], bf16[4,8]{1,0}, bf16[8,16]{1,0}) tuple(%next, %x, %w)
}

%condition (p: (s32[], bf16[4,8], bf16[8,16])) -> pred[] {
  %p.1 = (s32[], bf16[4,8]{1,0}, /*index=2*/bf16[8,16]{1,0}) parameter(0)
  %last = s32[] constant(7)
  %i.1 = s32[] get-tuple-element(%p.1), index=0
  ROOT %lt = pred[] compare(%i.1, %last), direction=LT
}

%all-reduce-scatter.1 (g: f32[8,16]) -> f32[1,16] {
  %g = f32[8,16]{1,0} parameter(0)
  %all-reduce.9 = f32[8,16]{1,0} all-reduce(%g), replica_groups={{0,1,2,3,4,5,6,7}}, \
to_apply=%add
  ROOT %piece = f32[1,16]{1,0} dynamic-slice(%all-reduce.9), dynamic_slice_sizes={1,16}
}

ENTRY %main (a: bf16[4,8], b: bf16[8,16]) -> f32[1,16] {
  %a = bf16[4,8]{1,0} parameter(0)
  %b = bf16[8,16]{1,0} parameter(1)
  %two = s32[] constant(2)
  %start = (s32[], bf16[4,8]{1,0}, bf16[8,16]{1,0}) tuple(%two, %a, %b)
  %while.1 = (s32[], bf16[4,8]{1,0}, bf16[8,16]{1,0}) while(%start), \
condition=%condition, body=%body, metadata={op_name="a (b) while"}
  %z = f32[8,16]{1,0:T(8,128)S(1)} dot(%a, %b), lhs_contracting_dims={1}, \
rhs_contracting_dims={0}
  %all-reduce.2 = (f32[8,16]{1,0}, f32[2]{0}) all-reduce(%z, %z), \
replica_groups=mesh['a'=2,'b'=4] {'a'}, to_apply=%add
  %permuted = f32[8,16]{1,0} collective-permute(%z), source_target_pairs={{0,1}}
  ROOT %fusion.1 = f32[1,16]{1,0} fusion(%z), kind=kCustom, \
calls=%all-reduce-scatter.1
}
"""


@pytest.fixture(scope="module")
def program():
    return Program(LOOPS)


def test_the_body_of_a_loop_is_run_from_its_first_number_to_its_bound(program):
    times = {run.instruction.name: run.times for run in program.runs()}
    assert times["y"] == 7 - 2
    assert times["z"] == 1


def test_collectives_are_told_by_kind_with_the_bytes_that_a_chip_sends(program):
    counts = count_collectives(program, num_devices=8)
    whole = 8 * 16 * 4
    assert counts["all-gather"] == {"count": 5, "bytes": 5 * (8 * 8 * 2) // 2}
    assert counts["all-reduce"] == {"count": 1, "bytes": 2 * (whole + 8) // 2}
    assert counts["collective-permute"] == {"count": 1, "bytes": whole}
    assert counts["reduce-scatter"] == {"count": 1, "bytes": whole * 7 // 8}
    assert counts["all-to-all"]["count"] == 0


PIECES = """HloModule jit_step

%first (p: bf16[2,8]) -> (bf16[2,8], bf16[8,8]) {
  %p = bf16[2,8]{1,0} parameter(0)
  %all-gather.1 = bf16[8,8]{1,0} all-gather(%p), replica_groups=[1,4]<=[4], \
backend_config={"async_collective_fusion_config":{"flag_start":"-1"}}
  ROOT %start = (bf16[2,8]{1,0}, bf16[8,8]{1,0}) custom-call(%all-gather.1), \
custom_call_target="AsyncCollectiveStart"
}

%second (q: bf16[2,8]) -> bf16[8,8] {
  %q = bf16[2,8]{1,0} parameter(0)
  ROOT %all-gather.2 = bf16[8,8]{1,0} all-gather(%q), replica_groups=[1,4]<=[4], \
backend_config={"async_collective_fusion_config":{"flag_start":"2"}}
}

ENTRY %main (a: bf16[2,8]) -> bf16[8,8] {
  %a = bf16[2,8]{1,0} parameter(0)
  %one = (bf16[2,8]{1,0}, bf16[8,8]{1,0}) fusion(%a), kind=kCustom, calls=%first
  ROOT %two = bf16[8,8]{1,0} fusion(%a), kind=kOutput, calls=%second
}
"""


def test_a_collective_in_pieces_beside_other_work_is_one():
    counts = count_collectives(Program(PIECES), num_devices=4)
    assert counts["all-gather"] == {"count": 1, "bytes": 8 * 8 * 2 * 3 // 4}


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("replica_groups={}", 16),
        ("replica_groups=[2,8]<=[4,4]T(1,0)", 8),
        ("replica_groups=mesh['x'=8,'y'=2], device_ids=([2,8]T(1,0)) {'x','y'}", 16),
        ("replica_groups=mesh['x'=8,'y'=2] {'x':(1)4}", 4),
    ],
)
def test_groups_are_read_in_every_form(groups, size):
    assert group_size(groups + ", dimensions={0}", num_devices=16) == size


def test_products_are_counted_as_often_as_they_are_run(program):
    work = count_work(program)
    in_loop, outside = 2 * 8 * 8 * 16, 2 * 8 * 16 * 8
    assert work.product_flops == 5 * in_loop + outside
    assert work.num_kernels == work.kernel_flops == 0


def test_a_batched_product_that_is_written_as_a_window_counts_no_padding():
    """[3, 5, 7] times [3, 7, 2], of 3 windows: two thirds of them are padding."""
    line = """ENTRY %main (a: f32[3,5,7], b: f32[3,7,2]) -> f32[3,5,2] {
  %a = f32[3,5,7]{2,1,0} parameter(0)
  %b = f32[3,7,2]{2,1,0} parameter(1)
  ROOT %c = f32[3,5,2]{2,1,0} convolution(%a, %b), \
window={size=3 stride=2 pad=0_0 lhs_dilate=3}, dim_labels=0bf_0io->0bf
}
"""
    assert count_work(Program(line)).product_flops == 2 * 3 * 5 * 7 * 2


SPLASH = """ENTRY %main (q: bf16[2,4,256,64], k: bf16[2,2,256,64]) -> f32[2,4,256,64] {
  %mask = s8[4,2,2]{2,1,0} parameter(0)
  %q = bf16[2,4,256,64]{3,2,1,0} parameter(1)
  %k = bf16[2,2,256,64]{3,2,1,0} parameter(2)
  ROOT %splash_mha_fwd_no_residuals.1 = f32[2,4,256,64]{3,2,1,0} \
custom-call(%mask, %q, %k, %k), custom_call_target="tpu_custom_call", \
frontend_attributes={kernel_metadata={
}}
}
"""


def test_kernels_are_priced_as_causal_attention():
    work = count_work(Program(SPLASH))
    products_of_the_formula = 2  # query x key, weights x value
    whole_square = 2 * 2 * 4 * 256 * 256 * 64
    assert work.kernel_flops == products_of_the_formula * whole_square / 2
    assert work.num_kernels == 1


def test_what_lies_in_vector_memory_moves_nothing_through_the_main_memory(program):
    bytes_of_z_read = 0  # It lies in S(1).
    a, b, whole = 4 * 8 * 2, 8 * 16 * 2, 8 * 16 * 4
    in_loop = (4 * 8 + 4 * 8 + 8 * 8) * 2 + (8 * 8 + 8 * 16) * 2 + whole + 3 * 4
    rest = a + b + (whole + 8) + whole + 16 * 4 + bytes_of_z_read
    assert count_work(program).hbm_bytes == 5 * in_loop + rest


LOOK_UP = """HloModule jit_look_up

%taken (t: f32[64,8], i: s32[2]) -> f32[2,8] {
  %t = f32[64,8]{1,0} parameter(0)
  %i = s32[2]{0} parameter(1)
  ROOT %rows = f32[2,8]{1,0} gather(%t, %i), offset_dims={1}
}

ENTRY %main (table: f32[64,8], ids: s32[2]) -> f32[2,8] {
  %table = f32[64,8]{1,0} parameter(0)
  %ids = s32[2]{0} parameter(1)
  %slice-start.1 = (f32[64,8]{1,0}, f32[16,8]{1,0:S(1)}, s32[]{:S(2)}) \
slice-start(%table), slice={[0:16], [0:8]}
  %slice-done.1 = f32[16,8]{1,0:S(1)} slice-done(%slice-start.1)
  ROOT %found = f32[2,8]{1,0} fusion(%table, %ids), kind=kLoop, calls=%taken
}
"""


def test_of_a_table_only_the_pieces_that_are_taken_move():
    fetched, looked_up, ids = 4 * 16 * 8, 2 * 4 * 2 * 8, 4 * 2
    assert count_work(Program(LOOK_UP)).hbm_bytes == fetched + looked_up + ids
