"""The matrix of types: what each public function returns, or raises, for each dtype, array library and layout."""
