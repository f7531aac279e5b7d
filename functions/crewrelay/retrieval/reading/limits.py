"""How much one document may be, so that none takes the machine or the others with it."""

MB = 1 << 20

FILE = 64 * MB  # as it lies on the disk
UNPACKED = 256 * MB  # what is in a DOCX, and what is made of any file
PASSAGES = 50_000  # of a document, and paragraphs of a DOCX
MEMORY = 1024 * MB  # that reading it takes
SECONDS = 120  # of CPU that reading it takes, and twice that by the clock

OUT_OF_MEMORY = 12  # exit code of a process that reads, as ENOMEM
