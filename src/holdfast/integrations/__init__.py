"""Our methods inside other people's training loops. Nothing here is imported unless asked for."""
