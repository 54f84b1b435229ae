"""Redis keys. No other module formats one.

Every key of partition p carries the hash tag `{p3}`, so that a partition is one Redis Cluster slot and one
script may touch all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

UNSYNCED = "nextclick:unsynced"
"""Why the files of this Redis do not reach its disk. Whoever syncs them sets it; nothing is promised while it is there.
Of the server, not of a deployment, so without a prefix."""


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys of one deployment. `prefix` keeps deployments apart in a shared Redis."""

    prefix: str = "nc"

    # session state, by partition
    def session(self, partition: int, session_id: str) -> str:
        """Encoded session; expires by itself."""
        return f"{self.prefix}:{{p{partition}}}:session:{session_id}"

    def exposures(self, partition: int, visitor: str) -> str:
        """List: pages that a visitor was shown; expires by itself."""
        return f"{self.prefix}:{{p{partition}}}:shown:{visitor}"

    def sent(self, partition: int, placement: str, visitor: str) -> str:
        """List: pages of a placement with a frequency cap that a visitor was given; expires by itself."""
        return f"{self.prefix}:{{p{partition}}}:sent:{placement}:{visitor}"

    def mailed(self, partition: int, bucket: int) -> str:
        """Hash: a user to the campaigns that wrote to them, encoded, of the users of one bucket; expires by itself."""
        return f"{self.prefix}:{{p{partition}}}:mailed:{bucket}"

    # what is known of a user, by the user's partition
    def user(self, partition: int, user_id: str) -> str:
        """JSON document that the site wrote of a user."""
        return f"{self.prefix}:{{p{partition}}}:user:{user_id}"

    def users(self, partition: int) -> str:
        """Hash: how many documents a partition's users have, and their bytes."""
        return f"{self.prefix}:{{p{partition}}}:users"

    def profile(self, partition: int, user_id: str) -> str:
        """Encoded profile that the stream learnt of a user; expires by itself."""
        return f"{self.prefix}:{{p{partition}}}:profile:{user_id}"

    def forgotten(self, partition: int) -> str:
        """Sorted set: users who were deleted lately, as keyed hashes, by when (epoch ms); bounded, and expires by
        itself.
        """
        return f"{self.prefix}:{{p{partition}}}:forgotten"

    def profile_progress(self, partition: int) -> str:
        """Hash: a partition of the log to the next offset that this partition's users do not know of; `next`: the next
        offset of this partition of the log that the profiles flow reads.
        """
        return f"{self.prefix}:{{p{partition}}}:profiles"

    def session_owner(self, partition: int, session_id: str) -> str:
        """The first user who was seen in a session; expires by itself."""
        return f"{self.prefix}:{{p{partition}}}:owner:{session_id}"

    # who waits for an item, and calls to the shop's server
    def waits(self, item: int) -> str:
        """Sorted set: users who wait for an item (an ItemKey), by their last click on it (epoch ms); bounded, and
        expires by itself.
        """
        return f"{self.prefix}:waits:{item:016x}"

    def due_calls(self, queue: str) -> str:
        """Sorted set: calls of a queue that wait, by when they are due (epoch ms)."""
        return f"{self.prefix}:{{{queue}}}:due"

    def calls(self, queue: str) -> str:
        """Hash: a call of a queue to what is sent, and with `:tries` how often it was taken up."""
        return f"{self.prefix}:{{{queue}}}:calls"

    def call_counts(self, queue: str) -> str:
        """Hash: what became of a queue's calls, counted."""
        return f"{self.prefix}:{{{queue}}}:counts"

    def calls_since(self, queue: str) -> str:
        """Sorted set: calls of a queue that wait, by when what they tell happened (epoch ms)."""
        return f"{self.prefix}:{{{queue}}}:since"

    def call_failures(self, queue: str) -> str:
        """List: a queue's attempts that were not taken, newest first, as JSON; bounded."""
        return f"{self.prefix}:{{{queue}}}:failures"

    def campaign_files(self) -> str:
        """Sorted set: [machine, path] of files that campaigns wrote, as JSON, by when (epoch ms); bounded."""
        return f"{self.prefix}:campaign-files"

    def feeds(self) -> str:
        """JSON: which feeds there are, and how their pulls went (`contracts.feed_status`)."""
        return f"{self.prefix}:feeds"

    def progress(self, partition: int) -> str:
        """Hash: next offset to apply, watermark, and the outcome counters of the session path."""
        return f"{self.prefix}:{{p{partition}}}:progress"

    # event log, by topic and partition
    def log(self, topic: str, partition: int) -> str:
        """Stream of a topic's partition; entry ids are `<offset>-1`."""
        return f"{self.prefix}:{{p{partition}}}:log:{topic}"

    def log_end(self, topic: str, partition: int) -> str:
        """The offset that the next record gets."""
        return f"{self.prefix}:{{p{partition}}}:log:{topic}:end"

    def log_groups(self, topic: str, partition: int) -> str:
        """Hash: consumer group to its next offset, and `group:hold` to where it would have to read again; what trimming
        and the backlog limit look at.
        """
        return f"{self.prefix}:{{p{partition}}}:log:{topic}:groups"

    def log_bytes(self, topic: str, partition: int) -> str:
        """How many bytes were ever appended, or (`dead`) are kept."""
        return f"{self.prefix}:{{p{partition}}}:log:{topic}:bytes"

    def log_marks(self, topic: str, partition: int) -> str:
        """List of `offset:bytes before it`; the first is where the stream was trimmed to, or below."""
        return f"{self.prefix}:{{p{partition}}}:log:{topic}:marks"

    def dead_letters(self, partition: int) -> str:
        """Stream of dead letters; bounded."""
        return f"{self.prefix}:{{p{partition}}}:dead"

    # what watches the data: one slot, as its flow writes counters, sessions and offsets in one script
    def quality_cells(self, hour: int) -> str:
        """Hash: minute of the hour and name (`7:type.view`) to a count, of one hour since 1970; expires by itself."""
        return f"{self.prefix}:{{quality}}:cells:{hour}"

    def quality_progress(self) -> str:
        """Hash: a partition of the clicks to the next offset, and with `:newest` the newest event's time before it."""
        return f"{self.prefix}:{{quality}}:progress"

    def quality_bots(self) -> str:
        """Sorted set: sessions that no human has, by their last event (epoch ms); bounded."""
        return f"{self.prefix}:{{quality}}:bots"

    # attribution: one slot, as its flow writes units, cells and offsets in one script
    def attribution_unit(self, kind: str, name: str) -> str:
        """Encoded unit of a `session` or a `user`; expires by itself."""
        return f"{self.prefix}:{{attribution}}:{kind}:{name}"

    def attribution_cells(self, hour: int) -> str:
        """Hash: dimensions and counter to a whole number of ten-thousandths, of one hour since 1970."""
        return f"{self.prefix}:{{attribution}}:cells:{hour}"

    def attribution_progress(self) -> str:
        """Hash: `topic:partition` to the next offset, and with `:newest` the newest event's time before it."""
        return f"{self.prefix}:{{attribution}}:progress"

    def attribution_hours(self) -> str:
        """Sorted set: hours that have cells, by themselves."""
        return f"{self.prefix}:{{attribution}}:hours"

    def attribution_experiments(self) -> str:
        """Sorted set: names of experiments that have units, by the newest hour in which one changed."""
        return f"{self.prefix}:{{attribution}}:experiments"

    def experiment_units(self, experiment: str, kind: str) -> str:
        """Hash: a `session` or a `user` to its encoded row of an experiment."""
        return f"{self.prefix}:{{attribution}}:units:{kind}:{experiment}"

    def experiment_sums(self, experiment: str, day: int) -> str:
        """Hash: hour, variant, device, returning and counter to a whole number of ten-thousandths, of one day since
        1970.
        """
        return f"{self.prefix}:{{attribution}}:sums:{day}:{experiment}"

    def attribution_facts(self) -> str:
        """Hash: what became of events, counted."""
        return f"{self.prefix}:{{attribution}}:facts"

    # what the judge says of experiments
    def experiment_report(self, name: str) -> str:
        """JSON: the newest report of an experiment."""
        return f"{self.prefix}:report:{name}"

    def experiment_decisions(self) -> str:
        """Hash: an experiment's name to what its newest report decides, as JSON."""
        return f"{self.prefix}:decisions"

    def bandit_shares(self, name: str) -> str:
        """JSON: the shares of a bandit experiment's variants (`contracts.bandit_shares`)."""
        return f"{self.prefix}:shares:{name}"

    def retrain_status(self) -> str:
        """JSON: what training again and again says of itself (`contracts.retrain_status`)."""
        return f"{self.prefix}:retrain"

    def shadow(self, version: str) -> str:
        """Hash: sums of what a candidate in the shadow would have answered."""
        return f"{self.prefix}:shadow:{version}"

    # what flows tell of themselves
    def read_progress(self) -> str:
        """Hash: `flow:topic:partition` to the next offset that the flow reads, `flow:topic:lost` to records it lost."""
        return f"{self.prefix}:read"

    def processes(self) -> str:
        """Hash: a process's name to what it tells of itself (`state.presence`), as JSON; expires by itself."""
        return f"{self.prefix}:processes"

    def flow_members(self, flow: str) -> str:
        """Sorted set: the processes that share a flow's partitions (`state.flow_members`), by when each said so last;
        expires by itself.
        """
        return f"{self.prefix}:members:{flow}"

    def watched(self) -> str:
        """There while somebody looks at live numbers; expires by itself."""
        return f"{self.prefix}:live:watched"

    def live(self, step: int) -> str:
        """Hash: a gateway process to what it did in one step of time, as JSON; expires by itself."""
        return f"{self.prefix}:live:{step}"

    def secret(self) -> str:
        """32 random bytes that all gateways of a deployment sign cursors with."""
        return f"{self.prefix}:secret"

    # the right to be forgotten: one slot, as an erasure's steps are written beside its names
    def erasures(self) -> str:
        """Hash: an erasure's id to what it is of (keyed hashes, no name), when it was, and its receipt, as JSON; with
        `number` a count of changes.
        """
        return f"{self.prefix}:{{erasures}}:all"

    def erasing(self, erasure: str) -> str:
        """JSON: the visitor's names, for as long as an erasure is under way."""
        return f"{self.prefix}:{{erasures}}:names:{erasure}"

    def erasure_secret(self) -> str:
        """32 random bytes that names of erased visitors are hashed with."""
        return f"{self.prefix}:{{erasures}}:secret"

    def rewriting(self, stream: str) -> str:
        """A stream that is being written again, in the slot of the one of which it takes the place."""
        return f"{stream}:rewriting" if "{" in stream else f"{{{stream}}}:rewriting"

    def mirror(self) -> str:
        """Hash: which deployment's log this one is a copy of (`of`), and `topic:partition` to the offsets of the
        original's and of the copy's record from which on they are the same, `source:target`. `until:topic:partition`:
        up to which offset the mirror is about to write. `documents_of`: a hash that tells an original from one that was
        emptied. Where the mirror was ended for good, `ended` in the place of `of`.
        """
        return f"{self.prefix}:mirror"

    def mirroring(self) -> str:
        """There while a mirror writes this log; expires by itself."""
        return f"{self.prefix}:mirroring"

    def restoring(self) -> str:
        """How far a restore is (`state.restore_mark`): there while one puts a backup into this Redis, and when it was
        stopped half-way.
        """
        return f"{self.prefix}:restoring"

    def probe(self, tag: str = "") -> str:
        """Never there: a write that changes nothing tells whether writes are taken, in a cluster by the primary that
        has the tag's slot.
        """
        return f"{self.prefix}:{{{tag}}}:probe" if tag else f"{self.prefix}:probe"

    def audit(self, about: str) -> str:
        """Stream: who changed what; bounded."""
        return f"{self.prefix}:audit:{about}"

    # change tables (catalogue, trends, showings, ended sessions, scenarios, API keys)
    def table_rows(self, table: str) -> str:
        """Hash: row key to encoded row."""
        return f"{self.prefix}:{{{table}}}:rows"

    def table_changes(self, table: str) -> str:
        """Stream of changes; entry ids are `<change number>-1`; bounded."""
        return f"{self.prefix}:{{{table}}}:changes"

    def table_end(self, table: str) -> str:
        """The number that the next change gets."""
        return f"{self.prefix}:{{{table}}}:end"

    def table_progress(self, table: str) -> str:
        """Hash: `topic:partition` to the next offset to apply."""
        return f"{self.prefix}:{{{table}}}:progress"

    def document_versions(self, table: str, name: str) -> str:
        """List: every version of a document of the table that is kept, oldest first, encoded as the table's rows."""
        return f"{self.prefix}:{{{table}}}:versions:{name}"

    def document_counts(self, table: str) -> str:
        """Hash: a document's name to the number of its newest version; it outlives the document."""
        return f"{self.prefix}:{{{table}}}:counts"

    def table_changed_bytes(self, table: str) -> str:
        """How many bytes the changes ever had."""
        return f"{self.prefix}:{{{table}}}:changed"

    def table_marks(self, table: str) -> str:
        """List of `change number:bytes before it`, by which the stream of changes is bounded in bytes."""
        return f"{self.prefix}:{{{table}}}:marks"

    def table_bytes(self, table: str) -> str:
        """Bytes of all rows together, of a table whose writer counts them."""
        return f"{self.prefix}:{{{table}}}:bytes"

    def table_shards(self, table: str) -> str:
        """How many shards the table has, where it ever had several."""
        return f"{self.prefix}:{{{table}}}:shards"

    def table_pulse(self, table: str) -> str:
        """The last mark that the table's writer left: another each time (`state.table_pulse`)."""
        return f"{self.prefix}:{{{table}}}:pulse"


def shard_names(table: str, shards: int) -> list[str]:
    """Return what the shards of a table are called where a table's name is asked: one shard, as the table itself."""
    return [table] if shards == 1 else [f"{table}:{shard}" for shard in range(shards)]


CATALOGUE = "items"
TRENDS = "trends"
SHOWINGS = "showings"
ENDED = "ended"
SCENARIOS = "scenarios"
API_KEYS = "keys"
REFUSALS = "refusals"
"""Users who refused personalisation, by a hash of their ids (`rights.consent.refusal_key`)."""
WEBHOOKS = "webhooks"
"""The queue of what happened to items, and of the calls that come of it."""
