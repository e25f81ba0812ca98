src/engine/file/source.o: src/engine/file/source.c \
 src/engine/file/plm_file.h src/engine/file/../num/plm_num.h \
 src/engine/file/../num/../base/plm_base.h
src/engine/file/plm_file.h:
src/engine/file/../num/plm_num.h:
src/engine/file/../num/../base/plm_base.h:
