"""The ports on AWS. The only importer of boto3."""
