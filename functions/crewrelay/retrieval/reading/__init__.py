"""Reading documents: files of several formats as pages."""
