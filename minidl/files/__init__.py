"""Files: one reader and one writer a format. They know bytes and limits, and no meaning.

Nothing in a file is run, what a header says is checked before it is used, and memory stays in
proportion to the file. Every file is written by `minidl.files.atomic`.
"""
