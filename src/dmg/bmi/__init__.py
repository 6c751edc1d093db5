"""CSDMS BMI: a trained model as a component of another framework, and how it follows the steps of its host."""
