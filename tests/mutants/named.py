"""Faults that adversaries put in by hand and that no test found, each with the test that finds it now."""

from typing import NamedTuple


class Named(NamedTuple):
    """`old` stands once in `file`, a file of crewrelay; with `new` in its place `test` fails."""

    what: str
    file: str
    old: str
    new: str
    test: str


_STORE = "tests/unit/test_store_requests.py::test_"
_EXECUTION = "tests/unit/test_execution_"

NAMED = (
    Named(
        "keys that a throttled table leaves out are absent",
        "aws/batch_get.py",
        'if reply.get("UnprocessedKeys"):',
        "if False:",
        _STORE + "keys_that_a_throttled_table_leaves_out_are_not_taken_for_absent",
    ),
    Named(
        "of what is due only the first page of each shard is read",
        "aws/indexes.py",
        'starts[shard] = {"ExclusiveStartKey": last}',
        "del starts[shard]",
        _STORE + "what_is_due_is_read_to_the_last_page_of_each_shard_and_none_waits_for_another",
    ),
    Named(
        "of what is unfinished only the first page is counted",
        "aws/indexes.py",
        'if not (last := page.get("LastEvaluatedKey")):',
        'if not (last := page.get("LastEvaluatedKey")) or True:',
        _STORE + "unfinished_jobs_are_counted_to_the_last_page_and_no_further_than_asked",
    ),
    Named(
        "the journal is read eventually consistent",
        "aws/store.py",
        ':calls": rows.CALLS}),\n            ConsistentRead=True,\n',
        ':calls": rows.CALLS}),\n',
        _STORE + "what_is_decided_on_is_read_consistently",
    ),
    Named(
        "all jobs are in one shard of the due index",
        "aws/rows.py",
        "number % DUE_SHARDS)",
        "0)",
        _STORE + "jobs_are_spread_over_every_shard_of_the_due_index",
    ),
    Named(
        "a read of AWS takes a minute",
        "aws/clients.py",
        "read_timeout=3,",
        "read_timeout=60,",
        _STORE + "a_service_that_hangs_is_given_up_while_the_lease_still_stands",
    ),
    Named(
        "a job backs off beyond its end",
        "jobs/records/transitions.py",
        " and until < job.end_by",
        "",
        _EXECUTION + "errors.py::test_a_job_does_not_back_off_beyond_its_end",
    ),
    Named(
        "the oldest discarded replies are kept",
        "jobs/records/transitions.py",
        "[-_MOST_DISCARDED:]",
        "[:_MOST_DISCARDED]",
        "tests/unit/test_job.py::test_the_last_four_replies_that_were_blamed_are_not_told_again",
    ),
    Named(
        "a lost lease does not stop the crew",
        "jobs/running/execution.py",
        'run.stop(RunStopped("its handler has answered"))',
        "pass",
        _EXECUTION + "lease.py::test_a_crew_whose_lease_was_stolen_pays_for_nothing_more",
    ),
    Named(
        "a crew's thread keeps its process alive",
        "jobs/running/execution.py",
        "name=name, daemon=True",
        "name=name",
        _EXECUTION + "deadline.py::test_a_crew_that_never_comes_back_does_not_keep_its_process_alive",
    ),
    Named(
        "a lease's threads take no turns",
        "jobs/running/lease.py",
        "with self._turn:",
        "if True:",
        "tests/unit/test_lease.py::test_a_transition_sees_what_another_thread_wrote_before_it",
    ),
    Named(
        "a message is deleted before its copy is sent",
        "aws/dead_letters.py",
        "            client.send_message(",
        '            client.delete_message(QueueUrl=dlq_url, ReceiptHandle=message["ReceiptHandle"])\n'
        "            client.send_message(",
        "tests/unit/test_redrive.py::test_a_message_that_the_queue_refuses_stays_in_the_dead_letter_queue",
    ),
    Named(
        "a copy of a message is another job",
        "events/records.py",
        'return str(attribute.get("stringValue") or record["messageId"])',
        'return str(record["messageId"])',
        "tests/unit/test_redrive.py::test_a_copy_is_the_job_of_the_message_that_it_was_made_from",
    ),
    Named(
        "an inline run has a hundred times its grace",
        "settings.py",
        "return self.gateway_margin / 2",
        "return self.gateway_margin * 50",
        "tests/unit/test_settings.py::"
        "test_a_run_that_takes_its_time_to_give_its_job_back_is_answered_before_the_gateway_does",
    ),
)
