"""The live Runs of each Job, compared with a dict of lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.engine.runs_of_jobs import RunsOfJobs
from pycron.model.run import RunKey

RUNS = st.builds(RunKey, st.sampled_from(["a", "b"]), st.integers(0, 3))


@given(st.lists(st.tuples(st.sampled_from(["add", "remove"]), RUNS)))
def test_they_are_those_that_were_added_and_not_removed(steps: list[tuple[str, RunKey]]) -> None:
    runs, expected = RunsOfJobs(), list[RunKey]()
    for step, run in steps:
        if step == "add":
            runs.add(run)
            expected += [run] if run not in expected else []
        elif run in expected:
            runs.remove(run)
            expected.remove(run)
        else:
            with pytest.raises(KeyError):
                runs.remove(run)
        for job in ("a", "b"):
            of_job = [each for each in expected if each.job_id == job]
            assert runs.of(job) == of_job
            assert (job in runs) is bool(of_job)
