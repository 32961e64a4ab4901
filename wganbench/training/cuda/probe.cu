// A kernel that does nothing: the driver says of it how many clusters run at a time.
extern "C" __global__ void probe() {}
