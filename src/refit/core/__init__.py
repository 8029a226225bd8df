"""What every stage stands on: errors, files, parameters, and the settings of its process."""
