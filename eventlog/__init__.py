"""The event log: Kafka, or Redis Streams, behind one contract; and recorded logs as files."""
