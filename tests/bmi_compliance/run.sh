#!/usr/bin/env bash
# Drive the BMI component with clients that others wrote: every stage of bmi-test for one and for many catchments, then
# 100 steps through grpc4bmi over loopback. Makes a virtual environment of its own, unless one that has everything is
# named: `run.sh [VENV]`. Forecasts are held against the CF conventions there, too. gimli.units is pinned because bmi-tester skips the checks of units silently without 0.3.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=${1:-}
if [[ -z $venv ]]; then
  venv="$work/venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet -c "$root/constraints.txt" -e "$root[bmi]" \
    bmi-tester==0.5.10 gimli.units==0.3.3 grpc4bmi==0.6.1 compliance-checker==6.1.0 "pytest>=8.2" "hypothesis>=6.100"
fi
export PATH="$venv/bin:$PATH"
python -c "import bmi_tester.api as api; assert api.WITH_GIMLI_UNITS, 'the units would not be checked'"
python "$here/make_stages.py" "$work/stages"
for stage in one many; do
  printf '\n--- bmi-test, %s\n' "$stage"
  (cd "$work/stages/$stage" && bmi-test dmg.bmi:DeltaModelBmi --root-dir=. --config-file=config.yaml)
done
for place in cat-1 five; do
  printf '\n--- bmi-test, formula, %s\n' "$place"
  mkdir -p "$work/stages/pet_$place"
  cp "$root/example/nextgen/bmi/pet_$place.yaml" "$work/stages/pet_$place/config.yaml"
  (cd "$work/stages/pet_$place" && bmi-test dmg.bmi:DerivationBmi --root-dir=. --config-file=config.yaml)
done
for stage in one many; do
  python "$here/drive_grpc.py" "$work/stages/$stage/config.yaml" 100
done

printf '\n--- compliance-checker\n'
COMPLIANCE_CHECKER="$venv/bin/compliance-checker" python -m pytest -q -p no:cacheprovider "$root/tests/test_cf.py" -k compliance
