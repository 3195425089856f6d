// LAPACK's functions, which Python hands over: SciPy has them all, and each installation of it the same ones.
#pragma once
#include <string>

namespace gpu __attribute__((visibility("default"))) {

// The function of LAPACK, such as "dgetrf"; null if it was not handed over.
void* lapack(const std::string& name);

template <class T>
std::string lapack_name(const char* name) {
    return (sizeof(T) == 8 ? "d" : "s") + std::string(name);
}

}  // namespace gpu
