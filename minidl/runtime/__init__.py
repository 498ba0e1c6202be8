"""Plan and device bound: the arena, the program, the step that people call."""
