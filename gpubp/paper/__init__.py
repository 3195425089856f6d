"""The experiments of Rumelhart, Hinton & Williams (1986), each from many first weights at once."""
