"""The experiments of Rumelhart, Hinton & Williams (1986), each trained from many first weights in one call."""
