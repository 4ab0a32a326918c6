"""Names of what predictions and composites add to a cube: variables, coordinates and attributes."""

from __future__ import annotations

MASK_NAME = "cloud_mask"
FORMER_MASK_NAME = "cloudmask"  # as version 0.1 wrote it; since then that is the accessor alone
PROBABILITY_NAME, CLASS_NAME = "probability", "class"  # of classes, and the dimension of these
WATER_NAME = "water"
AGREEMENT_NAME = "agreement"  # of the networks of an ensemble with the mask
MASK_VARIABLES = (MASK_NAME, PROBABILITY_NAME, WATER_NAME, AGREEMENT_NAME)

CLOUD_FRACTION = "cloud_fraction"
THIN_CLOUD_FRACTION = "thin_cloud_fraction"
CLOUD_SHADOW_FRACTION = "cloud_shadow_fraction"
CLEAR_FRACTION = "clear_fraction"
VALID_FRACTION = "valid_fraction"
FRACTIONS = (CLOUD_FRACTION, THIN_CLOUD_FRACTION, CLOUD_SHADOW_FRACTION, CLEAR_FRACTION, VALID_FRACTION)
WATER_FRACTION = "water_fraction"
PERCENTAGES = ("cloud_percentage", "cloud_shadow_percentage", "water_percentage")  # of the 4-4A notebook
COUNTED_OVER = "counted_over"  # attribute of a fraction: the pixels that it is of
DROPPED_FRACTION = "dropped_fraction"  # of pixels whose values can be no measurement
MEAN_AGREEMENT = "mean_agreement"
OF_THE_AREA = (
    *FRACTIONS,
    WATER_FRACTION,
    *PERCENTAGES,
    DROPPED_FRACTION,
    MEAN_AGREEMENT,
)  # a part of the mask has others

STATISTICS_NAME, STATISTIC_NAME = "scene_statistics", "statistic"  # and the dimension of these
BAND_MISMATCH = "band_mismatch"

# What a prediction adds to a cube; it says nothing about the next one.
PREDICTED_NAMES = (
    *MASK_VARIABLES,
    FORMER_MASK_NAME,
    CLASS_NAME,
    *OF_THE_AREA,
    STATISTICS_NAME,
    STATISTIC_NAME,
    BAND_MISMATCH,
)

CLEAR_COUNT, VALID_COUNT, CHOSEN_DATE = "clear_count", "valid_count", "chosen_date"  # of a composite
MODEL_WARNING = "model_warning"  # attribute of a mask: what it must not be used for
DROPPED_DATES = "dropped_dates"  # attribute of a cube whose dates were filtered
