// A program of its own, as the sanitizers need one: it reads buffers and launches from a file and writes the
// buffers to another. building.py writes the first and reads the second; every number is 8 bytes.
#pragma once

#include <stdio.h>

namespace cuda_on_cpu {

struct Launches {
    FILE* file;
    void read(void* to, size_t bytes) {
        if (bytes && fread(to, bytes, 1, file) != 1) fputs("the file of launches ends early\n", stderr), exit(2);
    }
    int64_t number() {
        int64_t value;
        return read(&value, sizeof value), value;
    }
    size_t size() { return size_t(number()); }
    unsigned dimension() { return unsigned(number()); }
};

inline int run_file(const Kernel* kernels, const char* from, const char* to) {
    Launches in{fopen(from, "rb")};
    FILE* out = fopen(to, "wb");
    if (!in.file || !out) return perror("the file of launches"), 2;

    size_t count = in.size();
    auto** buffers = new char*[count];
    auto* sizes = new size_t[count];
    for (size_t i = 0; i < count; ++i) {
        sizes[i] = in.size();
        buffers[i] = static_cast<char*>(malloc(sizes[i]));  // one each, so that a step past its end is seen
        in.read(buffers[i], sizes[i]);
    }

    for (size_t left = in.size(); left; --left) {
        const Kernel& kernel = kernels[in.number()];
        unsigned shape[6];
        for (unsigned& x : shape) x = in.dimension();
        size_t shared = in.size();
        bool at_once = in.number() != 0;
        uint64_t values[64][2];
        void* arguments[64];
        for (int i = 0; i < kernel.count; ++i) {
            arguments[i] = values[i];
            int64_t buffer = in.number();
            if (buffer >= 0)
                memcpy(values[i], &buffers[buffer], sizeof(void*));
            else
                in.read(values[i], kernel.sizes[i]);
        }
        dim3 grid(shape[0], shape[1], shape[2]), block(shape[3], shape[4], shape[5]);
        if (const char* wrong = kernel.launch(grid, block, shared, arguments, at_once)) return fputs(wrong, stderr), 2;
    }

    for (size_t i = 0; i < count; ++i) fwrite(buffers[i], 1, sizes[i], out);
    return fclose(out) ? 2 : 0;
}

}  // namespace cuda_on_cpu
