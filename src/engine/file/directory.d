src/engine/file/directory.o: src/engine/file/directory.c \
 src/engine/file/plm_file.h src/engine/file/../num/plm_num.h \
 src/engine/file/../num/../base/plm_base.h
src/engine/file/plm_file.h:
src/engine/file/../num/plm_num.h:
src/engine/file/../num/../base/plm_base.h:
