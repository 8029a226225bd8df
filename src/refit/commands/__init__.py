"""The commands, by what they are about; each module has an app that refit.cli takes in."""
