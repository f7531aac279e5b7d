"""Limits of one document, so that none can exhaust the machine or stop the ingestion."""

MB = 1 << 20

FILE = 64 * MB  # size on disk
UNPACKED = 256 * MB  # unpacked content of a DOCX, and output of any file
PASSAGES = 50_000  # of a document; also paragraphs of a DOCX
MEMORY = 1024 * MB  # used while reading it
SECONDS = 120  # CPU time for reading it; twice that in wall time

OUT_OF_MEMORY = 12  # exit code of the reading process, ENOMEM
