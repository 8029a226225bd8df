"""What was known two hours before departure, a module for each kind of event."""
