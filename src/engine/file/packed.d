src/engine/file/packed.o: src/engine/file/packed.c \
 src/engine/file/packed_layout.h src/engine/file/plm_file.h \
 src/engine/file/../num/plm_num.h \
 src/engine/file/../num/../base/plm_base.h
src/engine/file/packed_layout.h:
src/engine/file/plm_file.h:
src/engine/file/../num/plm_num.h:
src/engine/file/../num/../base/plm_base.h:
