"""A fleet that grows and shrinks by one machine at a time: what is decided without touching anything."""
