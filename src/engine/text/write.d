src/engine/text/write.o: src/engine/text/write.c \
 src/engine/text/text_private.h src/engine/text/plm_text.h \
 src/engine/text/../base/plm_base.h
src/engine/text/text_private.h:
src/engine/text/plm_text.h:
src/engine/text/../base/plm_base.h:
