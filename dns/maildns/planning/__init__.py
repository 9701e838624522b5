"""From a zone as it is to a zone as it should be: ownership, guards, order, stages, saved plans."""
