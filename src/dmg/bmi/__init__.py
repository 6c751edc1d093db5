"""CSDMS BMI: a trained model as a component of another framework, and how it follows the steps of its host."""

try:
    from dmg.bmi.delta_model_bmi import DeltaModelBmi
    from dmg.bmi.derivation_bmi import DerivationBmi
except ModuleNotFoundError as error:
    if error.name != "bmipy":
        raise
    raise ModuleNotFoundError("dmg.bmi needs bmipy: pip install 'dmg[bmi]'", name="bmipy") from error

__all__ = ["DeltaModelBmi", "DerivationBmi"]
