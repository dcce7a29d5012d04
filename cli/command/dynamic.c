/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command/dynamic.h"

#include <dlfcn.h>
#include <string.h>

bool
dynamic_open(const char *soname, const struct dynamic_function *functions, void *out)
{
    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        return false;
    }
    for (; functions->symbol != NULL; functions++) {
        void *address = dlsym(library, functions->symbol);
        if (address == NULL) {
            dlclose(library);
            return false;
        }
        memcpy((char *)out + functions->offset, &address, sizeof(address));
    }
    return true;
}
