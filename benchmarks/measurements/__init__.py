"""One module a question. Each gives functions that make one run and return its figures."""
