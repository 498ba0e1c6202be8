// gradient_sum: the contributions of several readers of one tensor, from left to right.
#include "merge.cu"

using gradient_sum = add_forward;
