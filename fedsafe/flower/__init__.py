"""The parts of Flower that are not its public interface, in one place."""
