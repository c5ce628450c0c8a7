"""Print the expression of each face in pictures: python examples/predict.py PICTURE ..."""

import sys

import lc2fer

for path in sys.argv[1:]:
    for number, answer in enumerate(lc2fer.predict(path), 1):
        print(f"{path} {number}: {answer.expression or 'unsure'}, {answer.confidence:.0%}, at {answer.box}")
