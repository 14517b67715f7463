/* data.h - the files that the library comes with. */
#ifndef DFX_CORE_DATA_H
#define DFX_CORE_DATA_H

/* "$DFX_DATADIR/NAME", where that is not set the installed folder's; to be freed, NULL when there
 * is no memory. */
char *dfx__data_path(const char *name);

#endif
