"""What the table of seams says in words."""

from slimjax.report import read_run
from slimjax.report.history import make_seam_table


def test_a_division_that_was_not_kept_to_is_said_at_its_seam(make_run):
    run = read_run(make_run())
    run.seams[0]["keeps_division"] = True
    run.seams[1]["keeps_division"] = False
    _, rows = make_seam_table(run)
    words = ["a tower had no more to give" in row[-1] for row in rows[:3]]
    assert words == [False, True, False]
    assert "hidden units" in rows[1][-1] or "heads" in rows[1][-1]
