/* Written by `python -m gpubp.engine.cpu.generate` from gpubp/nn/ and gpubp/optim/: do not edit. */

static void value_identity(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    (void)parameter;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const real new_0 = x_i;
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_identity(real parameter, integer b, integer j, integer stride, const real* x, const real* y,
        real* dE, integer dE_stride) {
    (void)parameter;
    (void)x;
    (void)y;
    const integer flat = stride == j && dE_stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real dE_i = dE[c * dE_stride + i];
            const real new_0 = dE_i;
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static void value_logistic(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    (void)parameter;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const real t4 = real_exp((-real_abs(x_i)));
            const real t6 = ((real)1.0 / ((real)1.0 + t4));
            const real new_0 = ((x_i < (real)0.0) ? (t4 * t6) : t6);
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_logistic(real parameter, integer b, integer j, integer stride, const real* x, const real* y,
        real* dE, integer dE_stride) {
    (void)parameter;
    (void)x;
    const integer flat = stride == j && dE_stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real dE_i = dE[c * dE_stride + i];
            const real y_i = y[c * stride + i];
            const real new_0 = ((dE_i * y_i) * ((real)1.0 - y_i));
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static void value_tanh(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    (void)parameter;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const real new_0 = real_tanh(x_i);
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_tanh(real parameter, integer b, integer j, integer stride, const real* x, const real* y, real*
        dE, integer dE_stride) {
    (void)parameter;
    (void)x;
    const integer flat = stride == j && dE_stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real dE_i = dE[c * dE_stride + i];
            const real y_i = y[c * stride + i];
            const real new_0 = (dE_i * ((real)1.0 - (y_i * y_i)));
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static void value_relu(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    (void)parameter;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const real new_0 = (x_i < (real)0.0 ? (real)0.0 : x_i);
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_relu(real parameter, integer b, integer j, integer stride, const real* x, const real* y, real*
        dE, integer dE_stride) {
    (void)parameter;
    (void)x;
    const integer flat = stride == j && dE_stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real y_i = y[c * stride + i];
            const real dE_i = dE[c * dE_stride + i];
            const real new_0 = (((real)0.0 < y_i) ? dE_i : (real)0.0);
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static void value_leaky_relu(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const real p = parameter;
            const real new_0 = (((real)0.0 < x_i) ? x_i : (p * x_i));
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_leaky_relu(real parameter, integer b, integer j, integer stride, const real* x, const real* y,
        real* dE, integer dE_stride) {
    (void)x;
    const integer flat = stride == j && dE_stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real y_i = y[c * stride + i];
            const real dE_i = dE[c * dE_stride + i];
            const real p = parameter;
            const real new_0 = (((real)0.0 < y_i) ? dE_i : (p * dE_i));
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static void value_elu(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const real p = parameter;
            const real new_0 = (((real)0.0 < x_i) ? x_i : (p * real_expm1((x_i > (real)0.0 ? (real)0.0 : x_i))));
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_elu(real parameter, integer b, integer j, integer stride, const real* x, const real* y, real* dE,
        integer dE_stride) {
    (void)x;
    const integer flat = stride == j && dE_stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real y_i = y[c * stride + i];
            const real dE_i = dE[c * dE_stride + i];
            const real p = parameter;
            const real new_0 = (((real)0.0 < y_i) ? dE_i : (dE_i * (y_i + p)));
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static void value_selu(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    (void)parameter;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const real new_0 = (((real)0.0 < x_i) ? ((real)1.0507009873554805 * x_i) : ((real)1.7580993408473766 * real_expm1((x_i > (real)0.0 ? (real)0.0 : x_i))));
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_selu(real parameter, integer b, integer j, integer stride, const real* x, const real* y, real*
        dE, integer dE_stride) {
    (void)parameter;
    (void)y;
    const integer flat = stride == j && dE_stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real dE_i = dE[c * dE_stride + i];
            const real x_i = x[c * stride + i];
            const real new_0 = (dE_i * (((real)0.0 < x_i) ? (real)1.0507009873554805 : ((real)1.7580993408473766 * real_exp((x_i > (real)0.0 ? (real)0.0 : x_i)))));
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static void value_softplus(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    (void)parameter;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const real new_0 = ((x_i < (real)0.0 ? (real)0.0 : x_i) + real_log1p(real_exp((-real_abs(x_i)))));
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_softplus(real parameter, integer b, integer j, integer stride, const real* x, const real* y,
        real* dE, integer dE_stride) {
    (void)parameter;
    (void)y;
    const integer flat = stride == j && dE_stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real dE_i = dE[c * dE_stride + i];
            const real x_i = x[c * stride + i];
            const real t5 = real_exp((-real_abs(x_i)));
            const real t7 = ((real)1.0 / ((real)1.0 + t5));
            const real new_0 = (dE_i * ((x_i < (real)0.0) ? (t5 * t7) : t7));
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static void value_silu(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    (void)parameter;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const real t4 = real_exp((-real_abs(x_i)));
            const real new_0 = (x_i * (((x_i < (real)0.0) ? t4 : (real)1.0) / ((real)1.0 + t4)));
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_silu(real parameter, integer b, integer j, integer stride, const real* x, const real* y, real*
        dE, integer dE_stride) {
    (void)parameter;
    (void)y;
    const integer flat = stride == j && dE_stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real dE_i = dE[c * dE_stride + i];
            const real x_i = x[c * stride + i];
            const real t3 = real_abs(x_i);
            const real t5 = real_exp((-t3));
            const real t7 = (t5 / ((real)1.0 + t5));
            const real t11 = (t7 * (((real)1.0 - t3) + (t3 * t7)));
            const real new_0 = (dE_i * ((x_i < (real)0.0) ? t11 : ((real)1.0 - t11)));
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static void value_gelu(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    (void)parameter;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const real t3 = real_abs(x_i);
            const real t4 = (t3 > (real)30.0 ? (real)30.0 : t3);
            const real t7 = (real_round((t4 * (real)256.0)) / (real)256.0);
            const real t8 = (t7 * (real)1.595703125);
            const real t17 = ((((t4 - t7) * (real)1.5957691216057308) + (t7 * (real)6.599660573081145e-05)) + real_abs((((real)0.07135481627260025 * (t4 * t4)) * t4)));
            const real t18 = (t8 + t17);
            const real t20 = real_exp((-t18));
            const real t24 = (t20 - (t20 * ((t8 - t18) + t17)));
            const real new_0 = ((x_i < (real)-30.0 ? (real)-30.0 : x_i) * (((x_i < (real)0.0) ? t24 : (real)1.0) / ((real)1.0 + t24)));
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_gelu(real parameter, integer b, integer j, integer stride, const real* x, const real* y, real*
        dE, integer dE_stride) {
    (void)parameter;
    (void)y;
    const integer flat = stride == j && dE_stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real dE_i = dE[c * dE_stride + i];
            const real x_i = x[c * stride + i];
            const real t3 = real_abs(x_i);
            const real t4 = (t3 > (real)30.0 ? (real)30.0 : t3);
            const real t7 = (real_round((t4 * (real)256.0)) / (real)256.0);
            const real t8 = (t7 * (real)1.595703125);
            const real t16 = real_abs((((real)0.07135481627260025 * (t4 * t4)) * t4));
            const real t17 = ((((t4 - t7) * (real)1.5957691216057308) + (t7 * (real)6.599660573081145e-05)) + t16);
            const real t18 = (t8 + t17);
            const real t20 = real_exp((-t18));
            const real t21 = ((real)1.0 + t20);
            const real t22 = (t20 / t21);
            const real t23 = ((real)1.0 - t18);
            const real t24 = ((real)2.0 * t16);
            const real t26 = ((t18 + t24) * t22);
            const real t27 = (t26 - t24);
            const real t30 = ((t8 - t18) + t17);
            const real t41 = (t22 * (t23 + (t27 - (((real)1.0 - t22) * (t30 + ((t30 + (((real)1.0 - t21) + t20)) * ((t23 + t27) + t26)))))));
            const real new_0 = (dE_i * ((x_i < (real)0.0) ? t41 : ((real)1.0 - t41)));
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static void value_mish(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    (void)parameter;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const bool t1 = (x_i < (real)0.0);
            const real t4 = real_exp((-real_abs(x_i)));
            const real t5 = (t4 * t4);
            const real t8 = ((t1 ? t5 : (real)1.0) + ((real)2.0 * t4));
            const real new_0 = (x_i * (t8 / (t8 + (t1 ? (real)2.0 : ((real)2.0 * t5)))));
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_mish(real parameter, integer b, integer j, integer stride, const real* x, const real* y, real*
        dE, integer dE_stride) {
    (void)parameter;
    (void)y;
    const integer flat = stride == j && dE_stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real dE_i = dE[c * dE_stride + i];
            const real x_i = x[c * stride + i];
            const real t2 = (x_i > (real)22.0 ? (real)22.0 : x_i);
            const real t4 = real_exp(t2);
            const real t7 = (t4 * ((real)1.0 + t4));
            const real t10 = (t4 * ((real)1.0 + ((real)0.5 * t4)));
            const real t13 = ((real)1.0 + t10);
            const real new_0 = (dE_i * ((t2 < (real)-0.4) ? (t4 * (((real)1.0 + t2) - (((t2 * ((t7 + (t10 * t10)) / t13)) + ((real)0.5 * t7)) / t13))) : ((real)0.6 + (((((real)0.2 * (t4 - (real)1.0)) * (t4 + (real)3.0)) + (t2 * (t7 / t13))) / t13))));
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static void value_cosine(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    (void)parameter;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const real new_0 = real_cos(x_i);
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_cosine(real parameter, integer b, integer j, integer stride, const real* x, const real* y, real*
        dE, integer dE_stride) {
    (void)parameter;
    (void)y;
    const integer flat = stride == j && dE_stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real dE_i = dE[c * dE_stride + i];
            const real x_i = x[c * stride + i];
            const real new_0 = ((-dE_i) * real_sin(x_i));
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static void value_exp(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    (void)parameter;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const real new_0 = real_exp(x_i);
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_exp(real parameter, integer b, integer j, integer stride, const real* x, const real* y, real* dE,
        integer dE_stride) {
    (void)parameter;
    (void)x;
    const integer flat = stride == j && dE_stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real dE_i = dE[c * dE_stride + i];
            const real y_i = y[c * stride + i];
            const real new_0 = (dE_i * y_i);
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static void value_softmax(real parameter, integer b, integer j, integer stride, const real* x, real* y) {
    (void)parameter;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < b; ++c) {
        const real over_units_1 = largest_of(j, x + c * stride);
        ELEMENTWISE_LOOP
        for (integer i = 0; i < j; ++i) {
            const real x_i = x[c * stride + i];
            const real new_0 = (x_i - over_units_1);
            y[c * stride + i] = new_0;
        }
    }
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real new_0 = real_exp(y[c * stride + i]);
            y[c * stride + i] = new_0;
        }
    }
    for (integer c = 0; c < b; ++c) {
        const real over_units_4 = sum_of(j, y + c * stride);
        const real t6 = ((real)1.0 / over_units_4);
        ELEMENTWISE_LOOP
        for (integer i = 0; i < j; ++i) {
            const real new_0 = (y[c * stride + i] * t6);
            y[c * stride + i] = new_0;
        }
    }
}

static void derivative_softmax(real parameter, integer b, integer j, integer stride, const real* x, const real* y, real*
        dE, integer dE_stride) {
    (void)parameter;
    (void)x;
    for (integer c = 0; c < b; ++c) {
        real over_units_4 = (real)0.0;
        for (integer i = 0; i < j; ++i) {
            const real dE_i = dE[c * dE_stride + i];
            const real y_i = y[c * stride + i];
            const real part_4 = (dE_i * y_i);
            over_units_4 = over_units_4 + part_4;
        }
        real over_units_8 = (real)0.0;
        for (integer i = 0; i < j; ++i) {
            const real y_i = y[c * stride + i];
            const real dE_i = dE[c * dE_stride + i];
            const real part_8 = (((real)0.5 < y_i) ? (real)0.0 : (y_i * (dE_i - over_units_4)));
            over_units_8 = over_units_8 + part_8;
        }
        const real t9 = (-over_units_8);
        ELEMENTWISE_LOOP
        for (integer i = 0; i < j; ++i) {
            const real y_i = y[c * stride + i];
            const real dE_i = dE[c * dE_stride + i];
            const real new_0 = (((real)0.5 < y_i) ? t9 : (y_i * (dE_i - over_units_4)));
            dE[c * dE_stride + i] = new_0;
        }
    }
}

static double loss_squared(real parameter, integer b, integer j, integer stride, const real* x, real* y, const real*
        targets, const real* weights, real* dE, real* workspace) {
    (void)parameter;
    (void)x;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real y_i = y[c * stride + i];
            const real target = targets[c * stride + i];
            const real t2 = (y_i - target);
            const real new_0 = (((real)0.5 * t2) * t2);
            const real new_1 = t2;
            workspace[c * j + i] = new_0;
            dE[c * stride + i] = new_1;
        }
    }
    return weighted_loss(b, j, workspace, weights, dE, stride);
}

static double loss_cross_entropy(real parameter, integer b, integer j, integer stride, const real* x, real* y, const
        real* targets, const real* weights, real* dE, real* workspace) {
    (void)parameter;
    (void)x;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real target = targets[c * stride + i];
            const real t1 = (-target);
            const real y_i = y[c * stride + i];
            const real t3 = (y_i < SMALLEST_NORMAL ? SMALLEST_NORMAL : y_i);
            const real new_0 = (t1 * real_log(t3));
            const real new_1 = (t1 / t3);
            workspace[c * j + i] = new_0;
            dE[c * stride + i] = new_1;
        }
    }
    return weighted_loss(b, j, workspace, weights, dE, stride);
}

static double loss_cross_entropy_at_total_inputs(real parameter, integer b, integer j, integer stride, const real* x,
        real* y, const real* targets, const real* weights, real* dE, real* workspace) {
    (void)parameter;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < b; ++c) {
        const real over_units_2 = largest_of(j, x + c * stride);
        ELEMENTWISE_LOOP
        for (integer i = 0; i < j; ++i) {
            const real x_i = x[c * stride + i];
            const real new_0 = (x_i - over_units_2);
            dE[c * stride + i] = new_0;
        }
    }
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real new_0 = real_exp(dE[c * stride + i]);
            y[c * stride + i] = new_0;
        }
    }
    for (integer c = 0; c < b; ++c) {
        const real over_units_5 = sum_of(j, y + c * stride);
        const real over_units_16 = sum_of(j, targets + c * stride);
        const real t23 = ((real)1.0 / over_units_5);
        real over_units_27 = (real)0.0;
        real over_units_37 = (real)0.0;
        for (integer i = 0; i < j; ++i) {
            const real t24 = (y[c * stride + i] * t23);
            const bool t25 = ((real)0.6 < t24);
            const real target = targets[c * stride + i];
            const real part_27 = (t25 ? (real)0.0 : y[c * stride + i]);
            const real part_37 = (t25 ? (real)0.0 : ((over_units_16 * t24) - target));
            over_units_27 = over_units_27 + part_27;
            over_units_37 = over_units_37 + part_37;
        }
        const bool t28 = (over_units_27 < (real)1.5);
        const real t29 = (over_units_27 - (real)1.0);
        const real t30 = (t28 ? over_units_27 : t29);
        const real t31 = real_log1p(t30);
        const real t38 = (-over_units_37);
        ELEMENTWISE_LOOP
        for (integer i = 0; i < j; ++i) {
            const real target = targets[c * stride + i];
            const real t24 = (y[c * stride + i] * t23);
            const real new_0 = (target * (t31 - dE[c * stride + i]));
            const real new_1 = (((real)0.6 < t24) ? t38 : ((over_units_16 * t24) - target));
            workspace[c * j + i] = new_0;
            dE[c * stride + i] = new_1;
        }
    }
    return weighted_loss(b, j, workspace, weights, dE, stride);
}

static double loss_binary_cross_entropy(real parameter, integer b, integer j, integer stride, const real* x, real* y,
        const real* targets, const real* weights, real* dE, real* workspace) {
    (void)parameter;
    (void)x;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real target = targets[c * stride + i];
            const real t1 = (-target);
            const real y_i = y[c * stride + i];
            const real t3 = (y_i < SMALLEST_NORMAL ? SMALLEST_NORMAL : y_i);
            const real t8 = ((real)1.0 - y_i);
            const real t9 = (t8 < SMALLEST_NORMAL ? SMALLEST_NORMAL : t8);
            const real new_0 = ((t1 * real_log(t3)) - (((real)1.0 - target) * (((real)0.5 < y_i) ? real_log(t9) : real_log1p((-(y_i > (real)0.5 ? (real)0.5 : y_i))))));
            const real new_1 = ((t1 / t3) - ((target - (real)1.0) / t9));
            workspace[c * j + i] = new_0;
            dE[c * stride + i] = new_1;
        }
    }
    return weighted_loss(b, j, workspace, weights, dE, stride);
}

static double loss_binary_cross_entropy_at_total_inputs(real parameter, integer b, integer j, integer stride, const
        real* x, real* y, const real* targets, const real* weights, real* dE, real* workspace) {
    (void)parameter;
    (void)y;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real x_i = x[c * stride + i];
            const real target = targets[c * stride + i];
            const real t7 = real_exp((-real_abs(x_i)));
            const real t12 = ((real)1.0 / ((real)1.0 + t7));
            const real new_0 = (((x_i < (real)0.0 ? (real)0.0 : x_i) - (target * x_i)) + real_log1p(t7));
            const real new_1 = (((x_i < (real)0.0) ? (t7 * t12) : t12) - target);
            workspace[c * j + i] = new_0;
            dE[c * stride + i] = new_1;
        }
    }
    return weighted_loss(b, j, workspace, weights, dE, stride);
}

static double loss_poisson(real parameter, integer b, integer j, integer stride, const real* x, real* y, const real*
        targets, const real* weights, real* dE, real* workspace) {
    (void)parameter;
    (void)x;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real y_i = y[c * stride + i];
            const real t1 = (y_i < SMALLEST_NORMAL ? SMALLEST_NORMAL : y_i);
            const real target = targets[c * stride + i];
            const real t5 = (((real)0.0 < target) ? target : (real)1.0);
            const real t6 = (t1 > t5 ? t5 : t1);
            const real t7 = (t1 - t5);
            const real t8 = real_abs(t7);
            const bool t10 = (t6 < (t8 * SMALLEST_NORMAL));
            const real new_0 = ((t1 - target) - (target * (t10 ? (real_log(t1) - real_log(t5)) : ((t7 != t7 ? t7 : (real)((t7 > 0) - (t7 < 0))) * real_log1p(((t10 ? (real)0.0 : t8) / t6))))));
            const real new_1 = ((real)1.0 - (target / t1));
            workspace[c * j + i] = new_0;
            dE[c * stride + i] = new_1;
        }
    }
    return weighted_loss(b, j, workspace, weights, dE, stride);
}

static double loss_poisson_at_total_inputs(real parameter, integer b, integer j, integer stride, const real* x, real* y,
        const real* targets, const real* weights, real* dE, real* workspace) {
    (void)parameter;
    (void)y;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real target = targets[c * stride + i];
            const bool t1 = ((real)0.0 < target);
            const real x_i = x[c * stride + i];
            const real t5 = (x_i - real_log((t1 ? target : (real)1.0)));
            const real t9 = (t5 > (real)1.0 ? (real)1.0 : t5);
            const real t15 = (real_exp(x_i) - target);
            const real new_0 = ((t1 && (real_abs(t5) < (real)1.0)) ? (target * (real_expm1((t9 < (real)-1.0 ? (real)-1.0 : t9)) - t5)) : (t15 - (target * t5)));
            const real new_1 = t15;
            workspace[c * j + i] = new_0;
            dE[c * stride + i] = new_1;
        }
    }
    return weighted_loss(b, j, workspace, weights, dE, stride);
}

static double loss_absolute(real parameter, integer b, integer j, integer stride, const real* x, real* y, const real*
        targets, const real* weights, real* dE, real* workspace) {
    (void)parameter;
    (void)x;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real y_i = y[c * stride + i];
            const real target = targets[c * stride + i];
            const real t2 = (y_i - target);
            const real new_0 = real_abs(t2);
            const real new_1 = (t2 != t2 ? t2 : (real)((t2 > 0) - (t2 < 0)));
            workspace[c * j + i] = new_0;
            dE[c * stride + i] = new_1;
        }
    }
    return weighted_loss(b, j, workspace, weights, dE, stride);
}

static double loss_huber(real parameter, integer b, integer j, integer stride, const real* x, real* y, const real*
        targets, const real* weights, real* dE, real* workspace) {
    (void)x;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real y_i = y[c * stride + i];
            const real target = targets[c * stride + i];
            const real t2 = (y_i - target);
            const real t3 = real_abs(t2);
            const real p = parameter;
            const real t5 = (t3 > p ? p : t3);
            const real t9 = (t2 > p ? p : t2);
            const real t10 = (-p);
            const real new_0 = (t5 * (t3 - ((real)0.5 * t5)));
            const real new_1 = (t9 < t10 ? t10 : t9);
            workspace[c * j + i] = new_0;
            dE[c * stride + i] = new_1;
        }
    }
    return weighted_loss(b, j, workspace, weights, dE, stride);
}

static double loss_log_cosh(real parameter, integer b, integer j, integer stride, const real* x, real* y, const real*
        targets, const real* weights, real* dE, real* workspace) {
    (void)parameter;
    (void)x;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real y_i = y[c * stride + i];
            const real target = targets[c * stride + i];
            const real t2 = (y_i - target);
            const real t3 = real_abs(t2);
            const real t6 = real_tanh((t3 > (real)1.0 ? (real)1.0 : t3));
            const real new_0 = ((t3 < (real)1.0) ? ((real)-0.5 * real_log1p((-(t6 * t6)))) : ((t3 + real_log1p(real_exp(((real)-2.0 * t3)))) - (real)0.6931471805599453));
            const real new_1 = real_tanh(t2);
            workspace[c * j + i] = new_0;
            dE[c * stride + i] = new_1;
        }
    }
    return weighted_loss(b, j, workspace, weights, dE, stride);
}

static double loss_dead_zone(real parameter, integer b, integer j, integer stride, const real* x, real* y, const real*
        targets, const real* weights, real* dE, real* workspace) {
    (void)x;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real y_i = y[c * stride + i];
            const real target = targets[c * stride + i];
            const real t2 = (y_i - target);
            const real t3 = real_abs(t2);
            const real p = parameter;
            const bool t5 = (t3 < p);
            const real new_0 = (t5 ? (real)0.0 : (((real)0.5 * (t3 - p)) * (t3 + p)));
            const real new_1 = (t5 ? (real)0.0 : t2);
            workspace[c * j + i] = new_0;
            dE[c * stride + i] = new_1;
        }
    }
    return weighted_loss(b, j, workspace, weights, dE, stride);
}

static double loss_quantile(real parameter, integer b, integer j, integer stride, const real* x, real* y, const real*
        targets, const real* weights, real* dE, real* workspace) {
    (void)x;
    const integer flat = stride == j, rows = flat ? 1 : b, columns = flat ? b * j : j;
    for (integer c = 0; c < rows; ++c) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < columns; ++i) {
            const real p = parameter;
            const real t1 = ((real)1.0 - p);
            const real y_i = y[c * stride + i];
            const real target = targets[c * stride + i];
            const real t4 = (y_i - target);
            const real t5 = (t1 * t4);
            const real t7 = ((-p) * t4);
            const real t9 = (t4 != t4 ? t4 : (real)((t4 > 0) - (t4 < 0)));
            const real new_0 = (t5 < t7 ? t7 : t5);
            const real new_1 = ((t1 * (t9 < (real)0.0 ? (real)0.0 : t9)) + (p * (t9 > (real)0.0 ? (real)0.0 : t9)));
            workspace[c * j + i] = new_0;
            dE[c * stride + i] = new_1;
        }
    }
    return weighted_loss(b, j, workspace, weights, dE, stride);
}

static void update_gradient_descent(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)first;
    (void)second;
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real gradient = own_gradient;
            const real new_theta = (theta + (s[0] * gradient));
            thetas[row * stride + i] = new_theta;
        }
    }
}

static void update_rate_scaled_gradient_descent(integer n_rows, integer n_columns, integer stride, real* thetas, const
        real* gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real
        scale, const real* settings) {
    (void)first;
    (void)second;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real gradient = own_gradient;
            const real new_theta = (theta + (rate_factors * (s[0] * gradient)));
            thetas[row * stride + i] = new_theta;
        }
    }
}

static void update_decayed_gradient_descent(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)first;
    (void)second;
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real gradient = own_gradient;
            const real t2 = (s[0] * gradient);
            const real new_theta = (theta + (t2 - (s[1] * (theta + t2))));
            thetas[row * stride + i] = new_theta;
        }
    }
}

static void update_rate_scaled_decayed_gradient_descent(integer n_rows, integer n_columns, integer stride, real* thetas,
        const real* gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2,
        real scale, const real* settings) {
    (void)first;
    (void)second;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real gradient = own_gradient;
            const real t3 = (s[0] * gradient);
            const real new_theta = (theta + (rate_factors * (t3 - (s[1] * (theta + t3)))));
            thetas[row * stride + i] = new_theta;
        }
    }
}

static void update_momentum(integer n_rows, integer n_columns, integer stride, real* thetas, const real* gradients,
        real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale, const real*
        settings) {
    (void)second;
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = ((s[0] * old_0) - (s[1] * gradient));
            const real new_theta = (theta + t5);
            const real new_0 = t5;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_rate_scaled_momentum(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)second;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t6 = ((s[0] * old_0) - (s[1] * gradient));
            const real new_theta = (theta + (rate_factors * t6));
            const real new_0 = t6;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_decayed_momentum(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)second;
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = ((s[0] * old_0) - (s[1] * gradient));
            const real new_theta = (theta + (t5 - (s[2] * (theta + t5))));
            const real new_0 = t5;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_rate_scaled_decayed_momentum(integer n_rows, integer n_columns, integer stride, real* thetas, const
        real* gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real
        scale, const real* settings) {
    (void)second;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t6 = ((s[0] * old_0) - (s[1] * gradient));
            const real new_theta = (theta + (rate_factors * (t6 - (s[2] * (theta + t6)))));
            const real new_0 = t6;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_nesterov(integer n_rows, integer n_columns, integer stride, real* thetas, const real* gradients,
        real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale, const real*
        settings) {
    (void)second;
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t4 = (s[0] * gradient);
            const real t5 = ((s[1] * old_0) - t4);
            const real new_theta = (theta + ((s[1] * t5) - t4));
            const real new_0 = t5;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_rate_scaled_nesterov(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)second;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = (s[0] * gradient);
            const real t6 = ((s[1] * old_0) - t5);
            const real new_theta = (theta + (rate_factors * ((s[1] * t6) - t5)));
            const real new_0 = t6;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_decayed_nesterov(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)second;
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t4 = (s[0] * gradient);
            const real t5 = ((s[1] * old_0) - t4);
            const real t7 = ((s[1] * t5) - t4);
            const real new_theta = (theta + (t7 - (s[2] * (theta + t7))));
            const real new_0 = t5;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_rate_scaled_decayed_nesterov(integer n_rows, integer n_columns, integer stride, real* thetas, const
        real* gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real
        scale, const real* settings) {
    (void)second;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = (s[0] * gradient);
            const real t6 = ((s[1] * old_0) - t5);
            const real t8 = ((s[1] * t6) - t5);
            const real new_theta = (theta + (rate_factors * (t8 - (s[2] * (theta + t8)))));
            const real new_0 = t6;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_adam(integer n_rows, integer n_columns, integer stride, real* thetas, const real* gradients, real*
        first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale, const real*
        settings) {
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = ((s[0] * old_0) + (s[1] * gradient));
            const real old_1 = second[row * stride + i];
            const real t11 = ((s[2] * old_1) + (s[3] * (gradient * gradient)));
            const real new_theta = (theta + ((s[4] * t5) / (real_sqrt(t11) + s[5])));
            const real new_0 = t5;
            const real new_1 = t11;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
            second[row * stride + i] = new_1;
        }
    }
}

static void update_rate_scaled_adam(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t6 = ((s[0] * old_0) + (s[1] * gradient));
            const real old_1 = second[row * stride + i];
            const real t12 = ((s[2] * old_1) + (s[3] * (gradient * gradient)));
            const real new_theta = (theta + (rate_factors * ((s[4] * t6) / (real_sqrt(t12) + s[5]))));
            const real new_0 = t6;
            const real new_1 = t12;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
            second[row * stride + i] = new_1;
        }
    }
}

static void update_decayed_adam(integer n_rows, integer n_columns, integer stride, real* thetas, const real* gradients,
        real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale, const real*
        settings) {
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = ((s[0] * old_0) + (s[1] * gradient));
            const real old_1 = second[row * stride + i];
            const real t11 = ((s[2] * old_1) + (s[3] * (gradient * gradient)));
            const real t14 = ((s[4] * t5) / (real_sqrt(t11) + s[5]));
            const real new_theta = (theta + (t14 - (s[6] * (theta + t14))));
            const real new_0 = t5;
            const real new_1 = t11;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
            second[row * stride + i] = new_1;
        }
    }
}

static void update_rate_scaled_decayed_adam(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t6 = ((s[0] * old_0) + (s[1] * gradient));
            const real old_1 = second[row * stride + i];
            const real t12 = ((s[2] * old_1) + (s[3] * (gradient * gradient)));
            const real t15 = ((s[4] * t6) / (real_sqrt(t12) + s[5]));
            const real new_theta = (theta + (rate_factors * (t15 - (s[6] * (theta + t15)))));
            const real new_0 = t6;
            const real new_1 = t12;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
            second[row * stride + i] = new_1;
        }
    }
}

static void update_adamw(integer n_rows, integer n_columns, integer stride, real* thetas, const real* gradients, real*
        first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale, const real*
        settings) {
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = ((s[0] * old_0) + (s[1] * gradient));
            const real old_1 = second[row * stride + i];
            const real t11 = ((s[2] * old_1) + (s[3] * (gradient * gradient)));
            const real new_theta = (theta + (((s[4] * t5) / (real_sqrt(t11) + s[5])) - (s[6] * theta)));
            const real new_0 = t5;
            const real new_1 = t11;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
            second[row * stride + i] = new_1;
        }
    }
}

static void update_rate_scaled_adamw(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t6 = ((s[0] * old_0) + (s[1] * gradient));
            const real old_1 = second[row * stride + i];
            const real t12 = ((s[2] * old_1) + (s[3] * (gradient * gradient)));
            const real new_theta = (theta + (rate_factors * (((s[4] * t6) / (real_sqrt(t12) + s[5])) - (s[6] * theta))));
            const real new_0 = t6;
            const real new_1 = t12;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
            second[row * stride + i] = new_1;
        }
    }
}

static void update_decay_scaled_adamw(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)rate_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6], settings[7]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_decay_factors = decay_factors[row * stride + i];
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = ((s[0] * old_0) + (s[1] * gradient));
            const real old_1 = second[row * stride + i];
            const real t11 = ((s[2] * old_1) + (s[3] * (gradient * gradient)));
            const real decay_factors = own_decay_factors;
            const real new_theta = (theta + (((s[4] * t5) / (real_sqrt(t11) + s[5])) - ((s[6] * (s[7] * decay_factors)) * theta)));
            const real new_0 = t5;
            const real new_1 = t11;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
            second[row * stride + i] = new_1;
        }
    }
}

static void update_rate_scaled_decay_scaled_adamw(integer n_rows, integer n_columns, integer stride, real* thetas, const
        real* gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real
        scale, const real* settings) {
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6], settings[7]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real own_decay_factors = decay_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t6 = ((s[0] * old_0) + (s[1] * gradient));
            const real old_1 = second[row * stride + i];
            const real t12 = ((s[2] * old_1) + (s[3] * (gradient * gradient)));
            const real decay_factors = own_decay_factors;
            const real new_theta = (theta + (rate_factors * (((s[4] * t6) / (real_sqrt(t12) + s[5])) - ((s[6] * (s[7] * decay_factors)) * theta))));
            const real new_0 = t6;
            const real new_1 = t12;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
            second[row * stride + i] = new_1;
        }
    }
}

static void update_decayed_adamw(integer n_rows, integer n_columns, integer stride, real* thetas, const real* gradients,
        real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale, const real*
        settings) {
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6], settings[7]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = ((s[0] * old_0) + (s[1] * gradient));
            const real old_1 = second[row * stride + i];
            const real t11 = ((s[2] * old_1) + (s[3] * (gradient * gradient)));
            const real t16 = (((s[4] * t5) / (real_sqrt(t11) + s[5])) - (s[6] * theta));
            const real new_theta = (theta + (t16 - (s[7] * (theta + t16))));
            const real new_0 = t5;
            const real new_1 = t11;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
            second[row * stride + i] = new_1;
        }
    }
}

static void update_rate_scaled_decayed_adamw(integer n_rows, integer n_columns, integer stride, real* thetas, const
        real* gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real
        scale, const real* settings) {
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6], settings[7]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t6 = ((s[0] * old_0) + (s[1] * gradient));
            const real old_1 = second[row * stride + i];
            const real t12 = ((s[2] * old_1) + (s[3] * (gradient * gradient)));
            const real t17 = (((s[4] * t6) / (real_sqrt(t12) + s[5])) - (s[6] * theta));
            const real new_theta = (theta + (rate_factors * (t17 - (s[7] * (theta + t17)))));
            const real new_0 = t6;
            const real new_1 = t12;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
            second[row * stride + i] = new_1;
        }
    }
}

static void update_decay_scaled_decayed_adamw(integer n_rows, integer n_columns, integer stride, real* thetas, const
        real* gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real
        scale, const real* settings) {
    (void)rate_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6], settings[7], settings[8]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_decay_factors = decay_factors[row * stride + i];
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = ((s[0] * old_0) + (s[1] * gradient));
            const real old_1 = second[row * stride + i];
            const real t11 = ((s[2] * old_1) + (s[3] * (gradient * gradient)));
            const real decay_factors = own_decay_factors;
            const real t19 = (((s[4] * t5) / (real_sqrt(t11) + s[5])) - ((s[6] * (s[7] * decay_factors)) * theta));
            const real new_theta = (theta + (t19 - (s[8] * (theta + t19))));
            const real new_0 = t5;
            const real new_1 = t11;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
            second[row * stride + i] = new_1;
        }
    }
}

static void update_rate_scaled_decay_scaled_decayed_adamw(integer n_rows, integer n_columns, integer stride, real*
        thetas, const real* gradients, real* first, real* second, const real* rate_factors, const real* decay_factors,
        real l2, real scale, const real* settings) {
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6], settings[7], settings[8]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real own_decay_factors = decay_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t6 = ((s[0] * old_0) + (s[1] * gradient));
            const real old_1 = second[row * stride + i];
            const real t12 = ((s[2] * old_1) + (s[3] * (gradient * gradient)));
            const real decay_factors = own_decay_factors;
            const real t20 = (((s[4] * t6) / (real_sqrt(t12) + s[5])) - ((s[6] * (s[7] * decay_factors)) * theta));
            const real new_theta = (theta + (rate_factors * (t20 - (s[8] * (theta + t20)))));
            const real new_0 = t6;
            const real new_1 = t12;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
            second[row * stride + i] = new_1;
        }
    }
}

static void update_rmsprop(integer n_rows, integer n_columns, integer stride, real* thetas, const real* gradients, real*
        first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale, const real*
        settings) {
    (void)second;
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real gradient = own_gradient;
            const real old_0 = first[row * stride + i];
            const real t7 = ((s[0] * old_0) + (s[1] * (gradient * gradient)));
            const real new_theta = (theta + ((s[2] * gradient) / (real_sqrt(t7) + s[3])));
            const real new_0 = t7;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_rate_scaled_rmsprop(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)second;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real gradient = own_gradient;
            const real old_0 = first[row * stride + i];
            const real t8 = ((s[0] * old_0) + (s[1] * (gradient * gradient)));
            const real new_theta = (theta + (rate_factors * ((s[2] * gradient) / (real_sqrt(t8) + s[3]))));
            const real new_0 = t8;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_decayed_rmsprop(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)second;
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real gradient = own_gradient;
            const real old_0 = first[row * stride + i];
            const real t7 = ((s[0] * old_0) + (s[1] * (gradient * gradient)));
            const real t10 = ((s[2] * gradient) / (real_sqrt(t7) + s[3]));
            const real new_theta = (theta + (t10 - (s[4] * (theta + t10))));
            const real new_0 = t7;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_rate_scaled_decayed_rmsprop(integer n_rows, integer n_columns, integer stride, real* thetas, const
        real* gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real
        scale, const real* settings) {
    (void)second;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real gradient = own_gradient;
            const real old_0 = first[row * stride + i];
            const real t8 = ((s[0] * old_0) + (s[1] * (gradient * gradient)));
            const real t11 = ((s[2] * gradient) / (real_sqrt(t8) + s[3]));
            const real new_theta = (theta + (rate_factors * (t11 - (s[4] * (theta + t11)))));
            const real new_0 = t8;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_adagrad(integer n_rows, integer n_columns, integer stride, real* thetas, const real* gradients, real*
        first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale, const real*
        settings) {
    (void)second;
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real gradient = own_gradient;
            const real old_0 = first[row * stride + i];
            const real t5 = (old_0 + (gradient * gradient));
            const real new_theta = (theta + ((s[0] * gradient) / (real_sqrt(t5) + s[1])));
            const real new_0 = t5;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_rate_scaled_adagrad(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)second;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real gradient = own_gradient;
            const real old_0 = first[row * stride + i];
            const real t6 = (old_0 + (gradient * gradient));
            const real new_theta = (theta + (rate_factors * ((s[0] * gradient) / (real_sqrt(t6) + s[1]))));
            const real new_0 = t6;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_decayed_adagrad(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)second;
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real gradient = own_gradient;
            const real old_0 = first[row * stride + i];
            const real t5 = (old_0 + (gradient * gradient));
            const real t8 = ((s[0] * gradient) / (real_sqrt(t5) + s[1]));
            const real new_theta = (theta + (t8 - (s[2] * (theta + t8))));
            const real new_0 = t5;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_rate_scaled_decayed_adagrad(integer n_rows, integer n_columns, integer stride, real* thetas, const
        real* gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real
        scale, const real* settings) {
    (void)second;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real gradient = own_gradient;
            const real old_0 = first[row * stride + i];
            const real t6 = (old_0 + (gradient * gradient));
            const real t9 = ((s[0] * gradient) / (real_sqrt(t6) + s[1]));
            const real new_theta = (theta + (rate_factors * (t9 - (s[2] * (theta + t9)))));
            const real new_0 = t6;
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_lion(integer n_rows, integer n_columns, integer stride, real* thetas, const real* gradients, real*
        first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale, const real*
        settings) {
    (void)second;
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = ((s[0] * old_0) + (s[1] * gradient));
            const real new_theta = (theta + ((s[2] * (t5 != t5 ? t5 : (real)((t5 > 0) - (t5 < 0)))) - (s[3] * theta)));
            const real new_0 = ((s[4] * old_0) + (s[5] * gradient));
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_rate_scaled_lion(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)second;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t6 = ((s[0] * old_0) + (s[1] * gradient));
            const real new_theta = (theta + (rate_factors * ((s[2] * (t6 != t6 ? t6 : (real)((t6 > 0) - (t6 < 0)))) - (s[3] * theta))));
            const real new_0 = ((s[4] * old_0) + (s[5] * gradient));
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_decay_scaled_lion(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)second;
    (void)rate_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_decay_factors = decay_factors[row * stride + i];
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = ((s[0] * old_0) + (s[1] * gradient));
            const real decay_factors = own_decay_factors;
            const real new_theta = (theta + ((s[2] * (t5 != t5 ? t5 : (real)((t5 > 0) - (t5 < 0)))) - ((s[3] * (s[4] * decay_factors)) * theta)));
            const real new_0 = ((s[5] * old_0) + (s[6] * gradient));
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_rate_scaled_decay_scaled_lion(integer n_rows, integer n_columns, integer stride, real* thetas, const
        real* gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real
        scale, const real* settings) {
    (void)second;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real own_decay_factors = decay_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t6 = ((s[0] * old_0) + (s[1] * gradient));
            const real decay_factors = own_decay_factors;
            const real new_theta = (theta + (rate_factors * ((s[2] * (t6 != t6 ? t6 : (real)((t6 > 0) - (t6 < 0)))) - ((s[3] * (s[4] * decay_factors)) * theta))));
            const real new_0 = ((s[5] * old_0) + (s[6] * gradient));
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_decayed_lion(integer n_rows, integer n_columns, integer stride, real* thetas, const real* gradients,
        real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale, const real*
        settings) {
    (void)second;
    (void)rate_factors;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = ((s[0] * old_0) + (s[1] * gradient));
            const real t9 = ((s[2] * (t5 != t5 ? t5 : (real)((t5 > 0) - (t5 < 0)))) - (s[3] * theta));
            const real new_theta = (theta + (t9 - (s[4] * (theta + t9))));
            const real new_0 = ((s[5] * old_0) + (s[6] * gradient));
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_rate_scaled_decayed_lion(integer n_rows, integer n_columns, integer stride, real* thetas, const real*
        gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real scale,
        const real* settings) {
    (void)second;
    (void)decay_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t6 = ((s[0] * old_0) + (s[1] * gradient));
            const real t10 = ((s[2] * (t6 != t6 ? t6 : (real)((t6 > 0) - (t6 < 0)))) - (s[3] * theta));
            const real new_theta = (theta + (rate_factors * (t10 - (s[4] * (theta + t10)))));
            const real new_0 = ((s[5] * old_0) + (s[6] * gradient));
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_decay_scaled_decayed_lion(integer n_rows, integer n_columns, integer stride, real* thetas, const
        real* gradients, real* first, real* second, const real* rate_factors, const real* decay_factors, real l2, real
        scale, const real* settings) {
    (void)second;
    (void)rate_factors;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6], settings[7]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_decay_factors = decay_factors[row * stride + i];
            const real theta = own_theta;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t5 = ((s[0] * old_0) + (s[1] * gradient));
            const real decay_factors = own_decay_factors;
            const real t12 = ((s[2] * (t5 != t5 ? t5 : (real)((t5 > 0) - (t5 < 0)))) - ((s[3] * (s[4] * decay_factors)) * theta));
            const real new_theta = (theta + (t12 - (s[5] * (theta + t12))));
            const real new_0 = ((s[6] * old_0) + (s[7] * gradient));
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static void update_rate_scaled_decay_scaled_decayed_lion(integer n_rows, integer n_columns, integer stride, real*
        thetas, const real* gradients, real* first, real* second, const real* rate_factors, const real* decay_factors,
        real l2, real scale, const real* settings) {
    (void)second;
    if (stride == n_columns) {
        n_columns *= n_rows;
        n_rows = 1;
    }
    const real s[] = {settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6], settings[7]};
    for (integer row = 0; row < n_rows; ++row) {
        ELEMENTWISE_LOOP
        for (integer i = 0; i < n_columns; ++i) {
            const real own_theta = thetas[row * stride + i];
            const real own_gradient = (gradients[row * n_columns + i] + l2 * own_theta) * scale;
            const real own_rate_factors = rate_factors[row * stride + i];
            const real own_decay_factors = decay_factors[row * stride + i];
            const real theta = own_theta;
            const real rate_factors = own_rate_factors;
            const real old_0 = first[row * stride + i];
            const real gradient = own_gradient;
            const real t6 = ((s[0] * old_0) + (s[1] * gradient));
            const real decay_factors = own_decay_factors;
            const real t13 = ((s[2] * (t6 != t6 ? t6 : (real)((t6 > 0) - (t6 < 0)))) - ((s[3] * (s[4] * decay_factors)) * theta));
            const real new_theta = (theta + (rate_factors * (t13 - (s[5] * (theta + t13)))));
            const real new_0 = ((s[6] * old_0) + (s[7] * gradient));
            thetas[row * stride + i] = new_theta;
            first[row * stride + i] = new_0;
        }
    }
}

static const struct {
    const char* name;
    void* function;
} generated[] = {
    {"value identity", (void*)value_identity},
    {"derivative identity", (void*)derivative_identity},
    {"value logistic", (void*)value_logistic},
    {"derivative logistic", (void*)derivative_logistic},
    {"value tanh", (void*)value_tanh},
    {"derivative tanh", (void*)derivative_tanh},
    {"value relu", (void*)value_relu},
    {"derivative relu", (void*)derivative_relu},
    {"value leaky_relu", (void*)value_leaky_relu},
    {"derivative leaky_relu", (void*)derivative_leaky_relu},
    {"value elu", (void*)value_elu},
    {"derivative elu", (void*)derivative_elu},
    {"value selu", (void*)value_selu},
    {"derivative selu", (void*)derivative_selu},
    {"value softplus", (void*)value_softplus},
    {"derivative softplus", (void*)derivative_softplus},
    {"value silu", (void*)value_silu},
    {"derivative silu", (void*)derivative_silu},
    {"value gelu", (void*)value_gelu},
    {"derivative gelu", (void*)derivative_gelu},
    {"value mish", (void*)value_mish},
    {"derivative mish", (void*)derivative_mish},
    {"value cosine", (void*)value_cosine},
    {"derivative cosine", (void*)derivative_cosine},
    {"value exp", (void*)value_exp},
    {"derivative exp", (void*)derivative_exp},
    {"value softmax", (void*)value_softmax},
    {"derivative softmax", (void*)derivative_softmax},
    {"loss squared", (void*)loss_squared},
    {"loss cross_entropy", (void*)loss_cross_entropy},
    {"loss cross_entropy at total inputs", (void*)loss_cross_entropy_at_total_inputs},
    {"loss binary_cross_entropy", (void*)loss_binary_cross_entropy},
    {"loss binary_cross_entropy at total inputs", (void*)loss_binary_cross_entropy_at_total_inputs},
    {"loss poisson", (void*)loss_poisson},
    {"loss poisson at total inputs", (void*)loss_poisson_at_total_inputs},
    {"loss absolute", (void*)loss_absolute},
    {"loss huber", (void*)loss_huber},
    {"loss log_cosh", (void*)loss_log_cosh},
    {"loss dead_zone", (void*)loss_dead_zone},
    {"loss quantile", (void*)loss_quantile},
    {"update gradient_descent", (void*)update_gradient_descent},
    {"update rate-scaled gradient_descent", (void*)update_rate_scaled_gradient_descent},
    {"update decayed gradient_descent", (void*)update_decayed_gradient_descent},
    {"update rate-scaled decayed gradient_descent", (void*)update_rate_scaled_decayed_gradient_descent},
    {"update momentum", (void*)update_momentum},
    {"update rate-scaled momentum", (void*)update_rate_scaled_momentum},
    {"update decayed momentum", (void*)update_decayed_momentum},
    {"update rate-scaled decayed momentum", (void*)update_rate_scaled_decayed_momentum},
    {"update nesterov", (void*)update_nesterov},
    {"update rate-scaled nesterov", (void*)update_rate_scaled_nesterov},
    {"update decayed nesterov", (void*)update_decayed_nesterov},
    {"update rate-scaled decayed nesterov", (void*)update_rate_scaled_decayed_nesterov},
    {"update adam", (void*)update_adam},
    {"update rate-scaled adam", (void*)update_rate_scaled_adam},
    {"update decayed adam", (void*)update_decayed_adam},
    {"update rate-scaled decayed adam", (void*)update_rate_scaled_decayed_adam},
    {"update adamw", (void*)update_adamw},
    {"update rate-scaled adamw", (void*)update_rate_scaled_adamw},
    {"update decay-scaled adamw", (void*)update_decay_scaled_adamw},
    {"update rate-scaled decay-scaled adamw", (void*)update_rate_scaled_decay_scaled_adamw},
    {"update decayed adamw", (void*)update_decayed_adamw},
    {"update rate-scaled decayed adamw", (void*)update_rate_scaled_decayed_adamw},
    {"update decay-scaled decayed adamw", (void*)update_decay_scaled_decayed_adamw},
    {"update rate-scaled decay-scaled decayed adamw", (void*)update_rate_scaled_decay_scaled_decayed_adamw},
    {"update rmsprop", (void*)update_rmsprop},
    {"update rate-scaled rmsprop", (void*)update_rate_scaled_rmsprop},
    {"update decayed rmsprop", (void*)update_decayed_rmsprop},
    {"update rate-scaled decayed rmsprop", (void*)update_rate_scaled_decayed_rmsprop},
    {"update adagrad", (void*)update_adagrad},
    {"update rate-scaled adagrad", (void*)update_rate_scaled_adagrad},
    {"update decayed adagrad", (void*)update_decayed_adagrad},
    {"update rate-scaled decayed adagrad", (void*)update_rate_scaled_decayed_adagrad},
    {"update lion", (void*)update_lion},
    {"update rate-scaled lion", (void*)update_rate_scaled_lion},
    {"update decay-scaled lion", (void*)update_decay_scaled_lion},
    {"update rate-scaled decay-scaled lion", (void*)update_rate_scaled_decay_scaled_lion},
    {"update decayed lion", (void*)update_decayed_lion},
    {"update rate-scaled decayed lion", (void*)update_rate_scaled_decayed_lion},
    {"update decay-scaled decayed lion", (void*)update_decay_scaled_decayed_lion},
    {"update rate-scaled decay-scaled decayed lion", (void*)update_rate_scaled_decay_scaled_decayed_lion},
};
