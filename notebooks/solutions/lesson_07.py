"""Solutions of lesson 07: the name of each listing and its faulty line. Each passes its check."""

my_answer_1 = ("stored labels", 5)  # a place in the pass is no sample: store by index
my_answer_2 = ("winning class", 6)  # the number of the class is the label itself
my_answer_3 = ("choice", 4)  # among those that pass the gate, the densest
my_answer_4 = ("eta", 2)  # the maximum must not begin with the self-similarity
my_answer_5 = ("features", 2)  # features are taken in eval mode
my_answer_6 = ("division", 4)  # every path with a clean label must stay out of training
