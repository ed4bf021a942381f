"""The tutorial's exhibit: its recipe, training, cell, windows and scaling. The published models use none of it."""
