// Elementwise ops: a functor on floats, and what carries its operands to and from memory.
//
// The functor takes the op's operands in the op's order: what it writes by reference, then what it
// only reads. It is the kernel of an op of its own, and the epilogue of an op in front of it, whose
// result then takes the place of one operand and is never stored. All is read before anything is
// written, so that what is written may lie over what is read.
//
// Bytes moved: each operand once each way. Grid: one thread for V elements of one row.
#pragma once
#include "platform.cuh"

// V elements of one operand. An operand's rows lie `pitch` elements apart: more than it is wide where
// an image's channels are part of a wider tensor, 0 for one vector that all rows share.
template <int V>
struct Lane {
    float at[V];
};

// Where N pieces of a result lie: each in a row of its own, all from one column on.
template <int N>
struct Places {
    int64 row[N];
    bool there[N];  // else it lies nowhere
    int64 column;
};

template <class T>
struct In {
    const T* data;
    int pitch;
    template <int V>
    __device__ void take(Lane<V>& x, int64 row, int64 column, const Lane<V>&) const {
        load(x.at, data + row * pitch + column);
    }
    template <int V>
    __device__ void give(const Lane<V>&, int64, int64) const {}
};

template <class T>
struct Out {
    T* data;
    int pitch;
    template <int N, int V>
    __device__ __forceinline__ void give_all(const Lane<V> (&x)[N], const Places<N>& at) const {
#pragma unroll
        for (int n = 0; n < N; n++)
            if (at.there[n]) give(x[n], at.row[n], at.column);
    }
    template <int V>
    __device__ void take(Lane<V>&, int64, int64, const Lane<V>&) const {}
    template <int V>
    __device__ void give(const Lane<V>& x, int64 row, int64 column) const {
        store(data + row * pitch + column, x.at);
    }
};

template <class T>
struct InOut {
    T* data;
    int pitch;
    template <int V>
    __device__ void take(Lane<V>& x, int64 row, int64 column, const Lane<V>&) const {
        load(x.at, static_cast<const T*>(data + row * pitch + column));
    }
    template <int V>
    __device__ void give(const Lane<V>& x, int64 row, int64 column) const {
        store(data + row * pitch + column, x.at);
    }
};

// One number for all elements: the learning rate, the step.
template <class T>
struct Scalar {
    const T* data;
    template <int V>
    __device__ void take(Lane<V>& x, int64, int64, const Lane<V>&) const {
#pragma unroll
        for (int i = 0; i < V; i++) x.at[i] = float(*data);
    }
    template <int V>
    __device__ void give(const Lane<V>&, int64, int64) const {}
};

// What the op in front has just made.
struct Value {
    template <int V>
    __device__ void take(Lane<V>& x, int64, int64, const Lane<V>& value) const {
        x = value;
    }
    template <int V>
    __device__ void give(const Lane<V>&, int64, int64) const {}
};

// A list of operands, as the launch packs it.
template <class First, class... Rest>
struct Operands {
    First first;
    Operands<Rest...> rest;
};
template <class Last>
struct Operands<Last> {
    Last first;
};

// Load each operand of N pieces, call the functor element by element, store what it wrote. No load
// may pass a store that could lie over it: so all loads come first, and wait for memory together.
template <int N, int V, class Last>
__device__ __forceinline__ void take_all(
    Lane<V> (&x)[N], const Last& operand, const Places<N>& at, const Lane<V> (&value)[N]) {
#pragma unroll
    for (int n = 0; n < N; n++)
        if (at.there[n]) operand.take(x[n], at.row[n], at.column, value[n]);
}
template <int N, int V, class Operand>
__device__ __forceinline__ void give_back(
    const Lane<V> (&x)[N], const Operand& operand, const Places<N>& at) {
#pragma unroll
    for (int n = 0; n < N; n++)
        if (at.there[n]) operand.give(x[n], at.row[n], at.column);
}
template <int N, int V, class F, class Last, class... Taken>
__device__ __forceinline__ void apply_to(
    const F& f, const Operands<Last>& operands, const Places<N>& at, const Lane<V> (&value)[N],
    Taken (&... taken)[N]) {
    Lane<V> x[N];
    take_all(x, operands.first, at, value);
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < V; i++) f(taken[n].at[i]..., x[n].at[i]);
    give_back(x, operands.first, at);
}
template <int N, int V, class F, class First, class Second, class... Rest, class... Taken>
__device__ __forceinline__ void apply_to(
    const F& f, const Operands<First, Second, Rest...>& operands, const Places<N>& at,
    const Lane<V> (&value)[N], Taken (&... taken)[N]) {
    Lane<V> x[N];
    take_all(x, operands.first, at, value);
    apply_to(f, operands.rest, at, value, taken..., x);
    give_back(x, operands.first, at);
}

// A functor with its operands: what a kernel calls on its results.
template <class F, class... Types>
struct Epilogue {
    F f;
    Operands<Types...> operands;

    template <int N, int V>
    __device__ __forceinline__ void operator()(const Places<N>& at, const Lane<V> (&value)[N]) const {
        apply_to(f, operands, at, value);
    }
};

// Stands where an op's output of type T would: hands it to the elementwise op behind, rounded as if it
// had been stored, so that fusing changes no bit; stores nothing itself.
template <class T, class F, class... Types>
struct Into {
    Epilogue<F, Types...> epilogue;
    template <int V>
    __device__ void take(Lane<V>&, int64, int64, const Lane<V>&) const {}
    template <int N, int V>
    __device__ __forceinline__ void give_all(const Lane<V> (&x)[N], const Places<N>& at) const {
        Lane<V> rounded[N];
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int i = 0; i < V; i++) rounded[n].at[i] = to_float(from_float<T>(x[n].at[i]));
        epilogue(at, rounded);
    }
    template <int V>
    __device__ __forceinline__ void give(const Lane<V>& x, int64 row, int64 column) const {
        const Lane<V> one[1] = {x};
        give_all(one, Places<1>{{row}, {true}, column});
    }
};

// A copy.
struct assign {
    __device__ void operator()(float& y, float x) const { y = x; }
};

// y = f(...) on `rows` rows of `columns` elements; operands without gaps are one row.
template <int V, class F, class... Types>
struct Elementwise {
    struct Params {
        Epilogue<F, Types...> op;
        int64 rows;
        int64 columns;
        Division vectors;  // of one row, where there are several rows
    };
    using Shared = Nothing;

    static __device__ void run(const Params& p, Shared&) {
        const int64 index = thread_index();
        const Lane<V> none[1] = {};
        if (p.rows == 1) {
            if (index * V < p.columns) p.op(Places<1>{{0}, {true}, index * V}, none);
            return;
        }
        if (index >= p.rows * p.vectors.divisor) return;
        int vector;
        const int row = p.vectors.quotient(int(index), vector);
        p.op(Places<1>{{row}, {true}, int64(vector) * V}, none);
    }
};
