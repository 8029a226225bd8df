"""Features of what was known two hours before departure, one module for each kind of event."""
